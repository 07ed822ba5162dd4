"""What is waited for after a change, by kind, and what is said when it does not come: the official provider's rules."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.kubernetes.standin.client import ApiError, Client, Kind, Mirror
from tests.kubernetes.standin.objects import SKIP_AWAIT, TIMEOUT, Object, annotations

DEFAULT_SECONDS = 600.0
SETTLE_SECONDS = 10.0
"""The official provider lets a Service's endpoints settle for so long, after each change of them."""
REVISION = "deployment.kubernetes.io/revision"


class NotReady(Exception):
    """The object is there, but did not become what it should; `reasons` say why, `live` is how it was last."""

    def __init__(self, message: str, reasons: list[str], live: Object) -> None:
        super().__init__(message)
        self.reasons, self.live = reasons, live


class Waiter:
    """Waits for objects of one cluster; the watches are shared by all that wait for the same kind."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._mirrors: dict[str, Mirror] = {}
        self._lock = threading.Lock()
        self.stop = threading.Event()

    def ready(self, live: Object, seconds: float) -> Object:
        """Wait until an object that was created or changed is ready; return how it is then.

        Raises:
            NotReady: it was not in time.
        """
        about = annotations(live)
        if about.get(SKIP_AWAIT) == "true":
            return live
        wait = {
            ("apps/v1", "Deployment"): self._deployment,
            ("apps/v1", "StatefulSet"): self._stateful_set,
            ("v1", "Service"): self._service,
            ("v1", "Pod"): self._pod,
            ("batch/v1", "Job"): self._job,
            ("networking.k8s.io/v1", "Ingress"): self._ingress,
        }.get((live["apiVersion"], live["kind"]))
        return wait(live, float(about.get(TIMEOUT) or seconds or DEFAULT_SECONDS)) if wait else live

    def gone(self, path: str, uid: str, about: Object, seconds: float) -> None:
        """Wait until a deleted object is no more.

        Raises:
            NotReady: it still is.
        """
        if annotations(about).get(SKIP_AWAIT) == "true":
            return
        end, pause = time.monotonic() + (seconds or DEFAULT_SECONDS), 0.05
        while time.monotonic() < end and not self.stop.is_set():
            try:
                live = self._client.get(path)
            except ApiError as error:
                if error.status == 404:
                    return
                raise
            if live["metadata"].get("uid") != uid:
                return
            self.stop.wait(pause)
            pause = min(pause * 1.5, 1.0)
        raise NotReady(f"{path} is still there", [_finalizers(live)], live)

    def problems(self, live: Object) -> list[str]:
        """Return what keeps an object from being ready at this moment; nothing is waited for."""
        if annotations(live).get(SKIP_AWAIT) == "true":
            return []
        if (live["apiVersion"], live["kind"]) == ("apps/v1", "Deployment") and not deployed(live):
            return self._deployment_reasons(live)
        return []

    def _deployment(self, live: Object, seconds: float) -> Object:
        generation = live["metadata"]["generation"]
        return self._until(
            live,
            lambda now: now["metadata"]["generation"] >= generation and deployed(now),
            seconds,
            self._deployment_reasons,
        )

    def _stateful_set(self, live: Object, seconds: float) -> Object:
        def rolled_out(now: Object) -> bool:
            status, replicas = now.get("status") or {}, now["spec"].get("replicas", 1)
            return (
                status.get("observedGeneration") == now["metadata"]["generation"]
                and status.get("readyReplicas", 0) >= replicas
                and status.get("updatedReplicas", 0) >= replicas
            )

        return self._until(live, rolled_out, seconds, self._pod_reasons)

    def _pod(self, live: Object, seconds: float) -> Object:
        return self._until(
            live,
            lambda now: (
                _condition(now, "Ready").get("status") == "True"
                or (now.get("status") or {}).get("phase") == "Succeeded"
            ),
            seconds,
            _of_pod,
        )

    def _job(self, live: Object, seconds: float) -> Object:
        found = self._until(
            live,
            lambda now: "True" in {_condition(now, each).get("status") for each in ("Complete", "Failed")},
            seconds,
            self._pod_reasons,
        )
        failed = _condition(found, "Failed")
        if failed.get("status") == "True":
            reason = f"[{failed.get('reason')}] {failed.get('message')}"
            raise NotReady(f"Job {found['metadata']['name']} failed", [reason, *self._pod_reasons(found)], found)
        return found

    def _ingress(self, live: Object, seconds: float) -> Object:
        missing = "Ingress .status.loadBalancer field was not updated with a hostname/IP address."
        return self._until(
            live,
            lambda now: bool(((now.get("status") or {}).get("loadBalancer") or {}).get("ingress")),
            seconds,
            lambda _now: [missing],
        )

    def _service(self, live: Object, seconds: float) -> Object:
        spec = live["spec"]
        if spec.get("type") == "ExternalName" or spec.get("clusterIP") == "None" or not spec.get("selector"):
            return live
        seen: dict[str, Any] = {"version": "", "since": 0.0}

        def settled(endpoints: Object) -> bool:
            if endpoints["metadata"]["resourceVersion"] != seen["version"]:
                seen.update(version=endpoints["metadata"]["resourceVersion"], since=time.monotonic())
            pending = any(each.get("notReadyAddresses") for each in endpoints.get("subsets") or [])
            return not pending and time.monotonic() - seen["since"] >= SETTLE_SECONDS

        name, namespace = live["metadata"]["name"], live["metadata"]["namespace"]
        mirror = self._mirror(self._client.kind("v1", "Endpoints"), namespace)
        if mirror.wait(name, settled, seconds, self.stop) is None:
            reason = (
                "Service does not target any Pods. Selected Pods may not be ready, or field '.spec.selector' may not "
                "match labels on any Pods"
            )
            raise NotReady(self._how(name), [reason], live)
        return live

    def _until(
        self, live: Object, done: Callable[[Object], bool], seconds: float, reasons: Callable[[Object], list[str]]
    ) -> Object:
        metadata = live["metadata"]
        kind = self._client.kind(live["apiVersion"], live["kind"])
        uid = metadata["uid"]
        mirror = self._mirror(kind, metadata["namespace"])
        found = mirror.wait(
            metadata["name"], lambda now: now["metadata"]["uid"] == uid and done(_typed(now, live)), seconds, self.stop
        )
        if found is not None:
            return _typed(found, live)
        with suppress(ApiError):
            live = _typed(self._client.get(kind.path(metadata["namespace"], metadata["name"])), live)
        raise NotReady(self._how(metadata["name"]), reasons(live), live)

    def _how(self, name: str) -> str:
        if self.stop.is_set():
            return f'Resource operation was cancelled for "{name}"'
        return f"'{name}' timed out waiting to be Ready"

    def _mirror(self, kind: Kind, namespace: str) -> Mirror:
        path = kind.path(namespace)
        with self._lock:
            if path not in self._mirrors:
                self._mirrors[path] = Mirror(self._client, path)
            return self._mirrors[path]

    def _deployment_reasons(self, live: Object) -> list[str]:
        conditions = [_condition(live, name) for name in ("Progressing", "Available")]
        said = [
            f"[{each['reason']}] {each.get('message', '')}"
            for each in conditions
            if each and each.get("status") != "True"
        ]
        if _condition(live, "Available").get("status") != "True":
            said.append("Minimum number of live Pods was not attained")
        elif annotations(live).get(REVISION, "1") != "1":
            said.append("Attempted to roll forward to new ReplicaSet, but minimum number of Pods did not become live")
        return [*said, *self._pod_reasons(live)]

    def _pod_reasons(self, live: Object) -> list[str]:
        labels = (live["spec"].get("selector") or {}).get("matchLabels") or {}
        namespace = live["metadata"]["namespace"]
        with suppress(ApiError):
            listed = self._client.get(
                self._client.kind("v1", "Pod").path(namespace),
                labelSelector=",".join(f"{key}%3D{value}" for key, value in labels.items()),
            )
            return [reason for pod in listed["items"] for reason in _of_pod(pod)]
        return []


def deployed(live: Object) -> bool:
    """Return whether a Deployment's current generation is rolled out."""
    status, replicas = live.get("status") or {}, live["spec"].get("replicas", 1)
    progressing = _condition(live, "Progressing")
    return (
        status.get("observedGeneration", 0) >= live["metadata"]["generation"]
        and _condition(live, "Available").get("status") == "True"
        and progressing.get("status") == "True"
        and progressing.get("reason") == "NewReplicaSetAvailable"
        and status.get("updatedReplicas", 0) >= replicas
        and status.get("readyReplicas", 0) >= replicas
    )


def _of_pod(pod: Object) -> list[str]:
    where = f"[Pod {pod['metadata']['namespace']}/{pod['metadata']['name']}]"
    scheduled, ready = _condition(pod, "PodScheduled"), _condition(pod, "Ready")
    if scheduled.get("status") == "False":
        return [f"{where}: ({scheduled.get('reason')}) {scheduled.get('message')}"]
    if ready.get("status") != "False" or ready.get("reason") == "PodCompleted":
        return []
    details = []
    for each in (pod.get("status") or {}).get("containerStatuses") or []:
        for state in (each.get("state") or {}, each.get("lastState") or {}):
            for about in (state.get("waiting"), state.get("terminated")):
                if about and about.get("reason") not in {"ContainerCreating", None}:
                    details.append(f"[{about['reason']}] {about.get('message') or _exit(about)}".strip())
    said = f"{where}: {ready.get('message') or ready.get('reason')}"
    return [f"{said} -- {' -- '.join(details)}" if details else said]


def _exit(about: Object) -> str:
    return f"exit code {about['exitCode']}" if "exitCode" in about else ""


def _condition(live: Object, name: str) -> Object:
    found = [each for each in (live.get("status") or {}).get("conditions") or [] if each["type"] == name]
    return found[0] if found else {}


def _typed(listed: Object, like: Object) -> Object:
    """Objects in a list carry no kind of their own."""
    return {"apiVersion": like["apiVersion"], "kind": like["kind"], **listed}


def _finalizers(live: Object) -> str:
    return f"finalizers: {', '.join(live['metadata'].get('finalizers') or ['none'])}"
