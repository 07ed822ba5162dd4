"""The stand-in as Pulumi sees it: its gRPC protocol on one side, the API server on the other."""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import empty_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2
from tests.kubernetes.standin.client import ApiError, Client
from tests.kubernetes.standin.objects import (
    AUTONAMED,
    FIELD_MANAGER,
    FORCE,
    INPUTS,
    MANAGER,
    PROPAGATION,
    Object,
    annotations,
    checkpoint,
    differences,
    identity,
    named,
    property_path,
    pruned,
    replaces,
    wanted,
    with_secrets,
)
from tests.kubernetes.standin.waits import NotReady, Waiter

from slipway._internal.provider.server import GRPC_OPTIONS, MAX_THREADS
from slipway._internal.provider.values import SecretValue, contains_unknown, from_struct, to_struct, unwrap_secrets

VERSION = "4.34.2"
CREATOR = "pulumi-kubernetes"
"""Who creates: the official provider creates plainly, and takes the fields over at the first apply."""
CREATE_TRIES = 5

Method = Callable[[Any, Any, grpc.ServicerContext], Any]


class Partly(Exception):
    """Something was made or changed, and did not become ready: what the state keeps of it, and why."""

    def __init__(self, live: Object, properties: Object, inputs: Object, reasons: list[str], message: str) -> None:
        super().__init__(message)
        self.detail = provider_pb2.ErrorResourceInitFailed(
            id=identity(live), properties=to_struct(properties), reasons=[message, *reasons], inputs=to_struct(inputs)
        )


class _Status(grpc.Status):
    def __init__(self, message: str, detail: Any) -> None:
        packed = AnyMessage()
        packed.Pack(detail)
        status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=message, details=[packed])
        self.code, self.details = grpc.StatusCode.UNKNOWN, message
        self.trailing_metadata = (("grpc-status-details-bin", status.SerializeToString()),)


def told(method: Method) -> Method:
    """Answer with an error's plain words; a partial failure carries what the state keeps."""

    @functools.wraps(method)
    def guarded(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except Partly as error:
            context.abort_with_status(_Status(str(error), error.detail))
        except ApiError as error:
            context.abort(grpc.StatusCode.UNKNOWN, error.message)
        except Exception as error:
            traceback.print_exc()
            context.abort(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")

    return guarded


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Serves one cluster to one Pulumi engine."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._waiter: Waiter | None = None
        self._unreachable = ""
        self._force = False
        self._upsert = False
        self._mutable: set[str] = set()
        self._stopped = threading.Event()

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, accept_resources=False, accept_outputs=False)

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": "kubernetes", "version": VERSION}))

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        changed = [key for key in request.news.fields if request.news.fields[key] != request.olds.fields[key]]
        answer = provider_pb2.DiffResponse
        return answer(changes=answer.DIFF_SOME if changed else answer.DIFF_NONE, diffs=changed)

    @told
    def Configure(self, request: Any, context: Any) -> Any:
        given = unwrap_secrets(from_struct(request.args))
        switch = lambda name: str(given.get(name, "")).lower() == "true"  # noqa: E731
        self._force, self._upsert = switch("enablePatchForce"), switch("upsertExistingObjects")
        self._mutable = {
            kind
            for kind, name in (("ConfigMap", "enableConfigMapMutable"), ("Secret", "enableSecretMutable"))
            if switch(name)
        }
        try:
            self._client = Client(given.get("kubeconfig"), given.get("context"), given.get("namespace"))
            self._waiter = Waiter(self._client)
        except (OSError, ValueError) as error:  # said when the cluster is needed: a preview can do without
            self._unreachable = str(error)
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, acceptResources=False, acceptOutputs=False, supportsPreview=True
        )

    def Cancel(self, request: Any, context: Any) -> Any:
        self.cancel()
        return empty_pb2.Empty()

    def cancel(self) -> None:
        """End all waiting."""
        self._stopped.set()
        if self._waiter:
            self._waiter.stop.set()

    @told
    def Check(self, request: Any, context: Any) -> Any:
        inputs = named(
            from_struct(request.news), request.urn, request.randomSeed, unwrap_secrets(from_struct(request.olds))
        )
        kind = _declared(inputs)
        if not contains_unknown(inputs.get("metadata")) and self._client is not None:
            inputs = self._placed(inputs, kind)
        return provider_pb2.CheckResponse(inputs=to_struct(inputs))

    @told
    def Diff(self, request: Any, context: Any) -> Any:
        olds, news = from_struct(request.olds), from_struct(request.news)
        old_inputs = wanted(olds.get(INPUTS) or from_struct(request.old_inputs))
        live, new = unwrap_secrets(olds), wanted(news)
        found = [
            (path, how)
            for path, how in differences(pruned(live, old_inputs), new)
            if not any(_within(property_path(path), ignored) for ignored in request.ignoreChanges)
        ]
        kind = str(new.get("kind"))
        answer, one = provider_pb2.DiffResponse, provider_pb2.PropertyDiff
        detailed, replacing = {}, []
        for path, how in found:
            name = property_path(path)
            named = path[0] == "metadata" or live.get("immutable")  # these are made anew whatever may be mutable
            anew = replaces(kind, path) and (named or kind not in self._mutable)
            detailed[name] = one(kind=getattr(one, f"{how.upper()}{'_REPLACE' if anew else ''}"), inputDiff=False)
            if anew:
                replacing.append(name)
        before, after = live.get("metadata") or {}, new.get("metadata") or {}
        in_place = all(before.get(key) == after.get(key) for key in ("name", "namespace"))
        return answer(
            changes=answer.DIFF_SOME if found else answer.DIFF_NONE,
            replaces=replacing,
            deleteBeforeReplace=bool(replacing) and in_place and annotations(new).get(AUTONAMED) != "true",
            detailedDiff=detailed,
            hasDetailedDiff=True,
        )

    @told
    def Create(self, request: Any, context: Any) -> Any:
        inputs = from_struct(request.properties)
        if request.preview and (contains_unknown(inputs) or self._client is None):
            return provider_pb2.CreateResponse(properties=request.properties)
        manager = _manager(inputs, {}, request.urn)
        try:
            live = self._create(wanted(inputs), manager, dry=request.preview)
        except ApiError as error:
            if request.preview and (error.reason in {"Forbidden", "AlreadyExists"} or error.status == 404):
                return provider_pb2.CreateResponse(properties=request.properties)
            what = f'resource "{request.urn}" was not successfully created by the Kubernetes API server'
            raise ApiError(error.status, error.reason, f"{what}: {error.message}") from error
        if request.preview:
            live.pop("status", None)
            return provider_pb2.CreateResponse(properties=to_struct(checkpoint(inputs, live, manager)))
        ready = self._ready(live, inputs, manager, request, "created")
        return provider_pb2.CreateResponse(id=identity(ready), properties=to_struct(checkpoint(inputs, ready, manager)))

    @told
    def Update(self, request: Any, context: Any) -> Any:
        olds, inputs = from_struct(request.olds), from_struct(request.news)
        if request.preview and (contains_unknown(inputs) or self._client is None):
            return provider_pb2.UpdateResponse(properties=request.news)
        manager = _manager(inputs, unwrap_secrets(olds), request.urn)
        try:
            live = self._apply(wanted(inputs), manager, dry=request.preview)
        except ApiError as error:
            if request.preview and error.reason == "Forbidden":
                return provider_pb2.UpdateResponse(properties=request.news)
            what = f'update of resource "{request.urn}" failed because the Kubernetes API server reported'
            raise ApiError(error.status, error.reason, f"{what}: {error.message}") from error
        if request.preview:
            live.pop("status", None)
            return provider_pb2.UpdateResponse(properties=to_struct(checkpoint(inputs, live, manager)))
        ready = self._ready(live, inputs, manager, request, "updated")
        return provider_pb2.UpdateResponse(properties=to_struct(checkpoint(inputs, ready, manager)))

    @told
    def Read(self, request: Any, context: Any) -> Any:
        olds = from_struct(request.properties)
        inputs = from_struct(request.inputs) or olds.get(INPUTS) or {}
        about = unwrap_secrets(inputs) or unwrap_secrets(olds)
        if not about.get("kind"):
            raise ValueError("an import needs apiVersion and kind: this stand-in imports nothing by id alone")
        client = self._connected()
        namespace, _, name = request.id.rpartition("/")
        kind = client.kind(about["apiVersion"], about["kind"])
        try:
            live = client.get(kind.path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return provider_pb2.ReadResponse(id="")
            raise
        found = with_secrets(pruned(live, wanted(inputs)), inputs)
        manager = _manager(inputs, unwrap_secrets(olds), request.urn)
        kept = checkpoint(found, live, manager)
        if reasons := self._waits().problems(live):
            raise Partly(live, kept, found, reasons, f"'{name}' is not ready")
        return provider_pb2.ReadResponse(id=identity(live), properties=to_struct(kept), inputs=to_struct(found))

    @told
    def Delete(self, request: Any, context: Any) -> Any:
        about = unwrap_secrets(from_struct(request.properties))
        client = self._connected()
        namespace, _, name = request.id.rpartition("/")
        try:
            kind = client.kind(about["apiVersion"], about["kind"])
            path = kind.path(namespace, name)
            uid = client.get(path)["metadata"]["uid"]
        except ApiError as error:
            if error.status == 404:
                return empty_pb2.Empty()
            raise
        client.delete(path, propagation=annotations(about).get(PROPAGATION, "Foreground"))
        try:
            self._waits().gone(path, uid, about, request.timeout)
        except NotReady as error:
            raise ApiError(0, "Timeout", f"{error}: {'; '.join(error.reasons)}") from error
        return empty_pb2.Empty()

    def _connected(self) -> Client:
        if self._client is None:
            raise ApiError(0, "Unreachable", f"configured Kubernetes cluster is unreachable: {self._unreachable}")
        return self._client

    def _waits(self) -> Waiter:
        self._connected()
        assert self._waiter is not None
        return self._waiter

    def _placed(self, inputs: Object, declared: tuple[str, str]) -> Object:
        """Return inputs with the namespace that they will be in, where the kind has one."""
        metadata = inputs.get("metadata") or {}
        if isinstance(metadata, SecretValue):
            return inputs
        try:
            namespaced = self._connected().kind(*declared).namespaced
        except (ApiError, OSError):
            return inputs
        if namespaced and not metadata.get("namespace"):
            return {**inputs, "metadata": {**metadata, "namespace": self._connected().namespace}}
        if not namespaced and "namespace" in metadata:
            return {**inputs, "metadata": {key: value for key, value in metadata.items() if key != "namespace"}}
        return inputs

    def _create(self, body: Object, manager: str, *, dry: bool) -> Object:
        """Create an object; a kind or namespace that is still to come is waited for a little."""
        client, pause = self._connected(), 0.5
        for attempt in range(CREATE_TRIES + 1):
            try:
                kind = client.kind(*_declared(body), fresh=attempt > 0)
                namespace = body["metadata"].get("namespace", client.namespace)
                if self._upsert:
                    path = kind.path(namespace, body["metadata"]["name"])
                    return client.apply(path, body, manager=manager, force=self._forced(body, dry), dry=dry)
                return client.create(kind.path(namespace), body, manager=CREATOR, dry=dry)
            except ApiError as error:
                if error.status != 404 or attempt == CREATE_TRIES or dry or self._stopped.wait(pause):
                    raise
                pause *= 2
        raise AssertionError("the last try returns or raises")

    def _apply(self, body: Object, manager: str, *, dry: bool) -> Object:
        client = self._connected()
        kind = client.kind(*_declared(body))
        path = kind.path(body["metadata"].get("namespace", client.namespace), body["metadata"]["name"])
        if not dry:
            self._take_over(path, manager)
        return client.apply(path, body, manager=manager, force=self._forced(body, dry), dry=dry)

    def _take_over(self, path: str, manager: str) -> None:
        """Make what was created plainly the apply's own: else a field that is left out later would stay."""
        live = self._connected().get(path)
        managers = live["metadata"].get("managedFields") or []
        for index, each in enumerate(managers):
            if each["manager"] == CREATOR and each["operation"] == "Update" and not each.get("subresource"):
                changed = {**each, "manager": manager, "operation": "Apply"}
                where = f"/metadata/managedFields/{index}"
                version = {
                    "op": "test",
                    "path": "/metadata/resourceVersion",
                    "value": live["metadata"]["resourceVersion"],
                }
                self._connected().patch(path, [version, {"op": "replace", "path": where, "value": changed}])

    def _forced(self, body: Object, dry: bool) -> bool:
        return dry or self._force or annotations(body).get(FORCE) == "true"

    def _ready(self, live: Object, inputs: Object, manager: str, request: Any, how: str) -> Object:
        try:
            return self._waits().ready(live, request.timeout)
        except NotReady as error:
            message = (
                f'resource "{request.urn}" was successfully {how}, but the Kubernetes API server reported that it '
                f"failed to fully initialize or become live: {error}"
            )
            kept = checkpoint(inputs, error.live, manager)
            raise Partly(error.live, kept, inputs, error.reasons, message) from error


def _declared(inputs: Object) -> tuple[str, str]:
    return str(unwrap_secrets(inputs["apiVersion"])), str(unwrap_secrets(inputs["kind"]))


def _manager(inputs: Object, olds: Object, urn: str) -> str:
    """Return the name under which fields are owned: one for each resource, kept for its life."""
    import hashlib

    chosen = annotations(wanted(inputs)).get(MANAGER) or olds.get(FIELD_MANAGER)
    return str(chosen or f"pulumi-kubernetes-{hashlib.sha256(urn.encode()).hexdigest()[:8]}")


def _within(path: str, ignored: str) -> bool:
    return path == ignored or path.startswith((f"{ignored}.", f"{ignored}["))


def main() -> None:
    """Serve Pulumi until it ends this process or is killed itself; print the port first, as plugins do."""
    pulumi = os.getppid()
    provider = Provider()
    server = grpc.server(ThreadPoolExecutor(MAX_THREADS), options=GRPC_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    while server.wait_for_termination(timeout=1) and os.getppid() == pulumi:
        time.sleep(0)
    provider.cancel()
    server.stop(5).wait()
