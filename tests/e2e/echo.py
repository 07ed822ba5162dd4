"""A provider of any package without a cluster, an engine or a cloud: what a resource is given is what it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc


class Echo(provider_pb2_grpc.ResourceProviderServicer):
    """Answers what the engine asks of a provider, and remembers what an update had it do.

    `outputs` (type → properties) is what resources of a type have besides what they are given.
    """

    def __init__(self, outputs: Mapping[str, Mapping[str, Any]]) -> None:
        self.outputs = outputs
        self.created: list[str] = []
        self.changed: list[str] = []

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version="4.34.2")

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        return provider_pb2.ConfigureResponse(acceptSecrets=True)

    def Check(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def Create(self, request: Any, context: Any) -> Any:
        self.created.append(request.urn)
        return provider_pb2.CreateResponse(id=request.urn, properties=self._with_outputs(request, request.properties))

    def Diff(self, request: Any, context: Any) -> Any:
        same = request.old_inputs == request.news
        kind = provider_pb2.DiffResponse.DIFF_NONE if same else provider_pb2.DiffResponse.DIFF_SOME
        return provider_pb2.DiffResponse(changes=kind)

    def Update(self, request: Any, context: Any) -> Any:
        self.changed.append(request.urn)
        return provider_pb2.UpdateResponse(properties=self._with_outputs(request, request.news))

    def Delete(self, request: Any, context: Any) -> Any:
        self.changed.append(request.urn)
        return empty_pb2.Empty()

    def _with_outputs(self, request: Any, properties: Any) -> Any:
        found = struct_pb2.Struct()
        found.CopyFrom(properties)
        found.update(self.outputs.get(request.urn.split("::")[2].rpartition("$")[2], {}))
        return found


@contextmanager
def echo(outputs: Mapping[str, Mapping[str, Any]] = MappingProxyType({})) -> Iterator[tuple[Echo, int]]:
    """Serve it for the time of a `with`; yield it with its port for PULUMI_DEBUG_PROVIDERS."""
    provider = Echo(outputs)
    server = grpc.server(ThreadPoolExecutor(8))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield provider, port
    finally:
        server.stop(grace=None)
