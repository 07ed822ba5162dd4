"""A fake cluster: objects as the API server returns them, and logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from slipway._internal.commands.kubectl import ClusterNamespace
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import ScaleSettings, Service, ServiceSettings, Workspace, WorkspaceSettings
from slipway._internal.run.kubernetes_objects import Event, KubernetesObject, Namespace, ObjectList

STACK = Stack("staging", Path("Pulumi.staging.yaml"), "external", "kubernetes", protected=False)


def ref(letter: str, service: str = "api") -> str:
    return f"127.0.0.1:5000/shop/release/{service}@sha256:{letter * 64}"


def meta(name: str, service: str, **more: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": service, "app.kubernetes.io/part-of": "shop", "slipway.stack": "staging"}
    return {"name": name, "labels": labels, "creationTimestamp": "2026-03-01T12:00:00Z", "generation": 1, **more}


def deployment(service: str = "api", letter: str = "a", *, replicas: int = 1, **status: Any) -> dict[str, Any]:
    """A Deployment whose pods all run and are ready, but for what `status` says."""
    numbers = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas"), replicas)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta(service, service),
        "spec": {
            "replicas": replicas,
            "template": {"spec": {"containers": [{"name": service, "image": ref(letter, service)}]}},
        },
        "status": {"observedGeneration": 1, **numbers, **status},
    }


def pod(name: str, service: str = "api", *, phase: str = "Running", **status: Any) -> dict[str, Any]:
    """A pod that runs and is ready, but for what `status` says."""
    container = {
        "name": service,
        "ready": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": "2026-03-01T12:00:01Z"}},
        "lastState": {},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta(name, service),
        "spec": {"containers": [{"name": service, "image": ref("a", service)}]},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [container],
            **status,
        },
    }


def waiting(name: str, reason: str, service: str = "api", *, message: str = "", **container: Any) -> dict[str, Any]:
    """A pod whose container waits."""
    status = {
        "name": service,
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": message}},
        **container,
    }
    conditions = [{"type": "Ready", "status": "False"}]
    return pod(name, service, phase="Pending", conditions=conditions, containerStatuses=[status])


def crashing(name: str, service: str = "api", *, reason: str = "Error", code: int = 1) -> dict[str, Any]:
    """A pod whose container crashes again and again."""
    ended = {"terminated": {"exitCode": code, "reason": reason}}
    return waiting(name, "CrashLoopBackOff", service, restartCount=3, lastState=ended)


def read(*items: dict[str, Any]) -> list[KubernetesObject]:
    return list(msgspec.convert({"items": items}, ObjectList).items)


def service(name: str, root: Path = Path("/shop"), **settings: Any) -> Service:
    return Service(name, root / "services" / name, ServiceSettings(kind="python-api", **settings))


def workspace(root: Path, *services: Service) -> Workspace:
    return Workspace(root, WorkspaceSettings("shop", "127.0.0.1:5000"), services or (service("api"),))


@dataclass
class Cluster:
    """What a test's cluster holds."""

    items: list[KubernetesObject] = field(default_factory=list)
    namespaces: list[Namespace | None] = field(default_factory=list)
    pod_events: dict[str, list[Event]] = field(default_factory=dict)
    logged: dict[tuple[str, bool], list[str]] = field(default_factory=dict)
    where: ClusterNamespace = field(default_factory=lambda: ClusterNamespace("shop-staging"))

    def list_objects(self, kinds: Sequence[str], labels: str) -> list[KubernetesObject]:
        wanted = dict(each.split("=") for each in labels.split(","))
        return [each for each in self.items if not isinstance(each, Event) and self._has(each, wanted)]

    @staticmethod
    def _has(each: Any, wanted: dict[str, str]) -> bool:
        return bool(wanted.items() <= each.metadata.labels.items())

    def find_object(self, kind: str, name: str, into: type[Namespace]) -> Namespace | None:
        return self.namespaces.pop(0) if len(self.namespaces) > 1 else self.namespaces[0]

    def list_events(self, kind: str, name: str) -> list[Event]:
        return self.pod_events.get(name, [])

    def read_logs(self, labels: str, container: str, *, tail: int, most: int) -> list[str]:
        return [f"[pod] {labels} {container} {tail} {most}"]

    def read_pod_logs(
        self, pod: str, container: str, *, tail: int, previous: bool = False, prefix: bool = False
    ) -> list[str]:
        if (pod, previous) not in self.logged:
            raise SlipwayError(f"{pod} has no log")
        return self.logged[pod, previous][-tail:]

    def follow_logs(self, pod: str, container: str, *, tail: int, since: datetime | None = None) -> Iterator[str]:
        yield from self.logged.pop((pod, False), [])


SCALED = ScaleSettings(min=1, max=3)
