"""The provider's gRPC service: translates Pulumi's protocol into calls of the resource handlers.

It implements the protocol directly, with one thread per call because Docker's SDK blocks. An error is plain text, never
a traceback. The protocol: github.com/pulumi/pulumi/blob/master/proto/pulumi/provider.proto
"""

# ruff: noqa: ARG002 - the protocol passes more than each method needs

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from slipway import __version__
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.provider.container import ContainerHandler
from slipway._internal.provider.gateway import GatewayHandler
from slipway._internal.provider.handler import ResourceHandler, ResourceState
from slipway._internal.provider.job import JobHandler
from slipway._internal.provider.network import NetworkHandler
from slipway._internal.provider.protection import ProtectionHandler
from slipway._internal.provider.release import LiveHandler, ReleaseHandler
from slipway._internal.provider.release_command import DockerReleaseCommandHandler, KubernetesReleaseCommandHandler
from slipway._internal.provider.suffix import SuffixHandler
from slipway._internal.provider.values import Props, contains_unknown, from_struct, to_struct, unwrap_secrets
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.ownership import forget_checks
from slipway._internal.rollout.start_failure import error_to_text

PROVIDER_NAME, PROTECTION = "slipway", "slipway:index:Protection"
RESOURCE_HANDLERS: dict[str, ResourceHandler] = {
    "slipway:docker:Network": NetworkHandler(),
    "slipway:docker:Container": ContainerHandler(),
    "slipway:docker:Job": JobHandler(),
    "slipway:docker:ReleaseCommand": DockerReleaseCommandHandler(),
    "slipway:kubernetes:ReleaseCommand": KubernetesReleaseCommandHandler(),
    "slipway:docker:Gateway": GatewayHandler(),
    "slipway:index:Release": ReleaseHandler(),
    "slipway:index:Live": LiveHandler(),
    "slipway:index:Suffix": SuffixHandler(),
    PROTECTION: ProtectionHandler(),
}
HANDSHAKE_OPTIONS = {"accept_secrets": True, "accept_resources": False, "accept_outputs": False}

RpcMethod = Callable[[Any, Any, grpc.ServicerContext], Any]


def grpc_errors(method: RpcMethod) -> RpcMethod:
    """Answer with an error's text instead of a traceback, and keep the error for code in this process."""

    @functools.wraps(method)
    def guarded(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except SlipwayError as error:
            failure = error
        except Exception as error:  # a bug: report at least its type and location
            failure = _bug_report(error)
        self.errors[request.urn] = failure
        return context.abort(grpc.StatusCode.UNKNOWN, error_to_text(failure))

    return guarded


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Serves Slipway's resources to one Pulumi engine at a time."""

    def __init__(self) -> None:
        self.lifted_stack = ""
        """The stack whose protection may be lifted, set by the deploy in this process."""
        self._handlers = {**RESOURCE_HANDLERS, PROTECTION: ProtectionHandler(lambda: self.lifted_stack)}
        self._lock = threading.Lock()
        self._cancelled = False
        self._cancellations: set[CancellationToken] = set()
        self.errors: dict[str, SlipwayError] = {}
        """The last error of each resource, by URN: Pulumi passes on only its text."""

    def cancel(self) -> None:
        """Stop all waiting; unfinished resources are removed."""
        with self._lock:
            self._cancelled = True
            for cancellation in self._cancellations:
                cancellation.cancel()

    @contextmanager
    def _cancellation(self, context: grpc.ServicerContext) -> Iterator[CancellationToken]:
        """Yield the token that stops one call's waiting when the user interrupts or Pulumi ends."""
        cancellation = CancellationToken()
        with self._lock:
            self._cancellations.add(cancellation)
            if self._cancelled:
                cancellation.cancel()
        if not context.add_callback(cancellation.cancel):
            cancellation.cancel()
        try:
            yield cancellation
        finally:
            with self._lock:
                self._cancellations.discard(cancellation)

    def _handler_of(self, request: Any) -> ResourceHandler:
        type_token = request.urn.split("::")[2].rpartition("$")[2]
        if type_token not in self._handlers:
            raise SlipwayError(f"{type_token} is not one of Slipway's resources: {', '.join(sorted(self._handlers))}")
        return self._handlers[type_token]

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse(**HANDSHAKE_OPTIONS)

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=__version__)

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": PROVIDER_NAME, "version": __version__}))

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        forget_checks()
        self.errors.clear()
        self._cancelled = False  # a provider in a thread outlives an interrupted deployment
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, acceptResources=False, acceptOutputs=False, supportsPreview=True
        )

    def Cancel(self, request: Any, context: Any) -> Any:
        self.cancel()
        return empty_pb2.Empty()

    @grpc_errors
    def Check(self, request: Any, context: Any) -> Any:
        handler = self._handler_of(request)
        checked = handler.check(from_struct(request.news))
        problems = checked.failures or handler.validate_change(
            unwrap_secrets(from_struct(request.olds)), unwrap_secrets(checked.inputs)
        )
        if problems:
            self.errors[request.urn] = _invalid_inputs_error(request.urn, problems)
        failures = [provider_pb2.CheckFailure(property=name, reason=reason) for name, reason in problems]
        return provider_pb2.CheckResponse(inputs=to_struct(checked.inputs), failures=failures)

    @grpc_errors
    def Diff(self, request: Any, context: Any) -> Any:
        news = unwrap_secrets(from_struct(request.news))
        diff = self._handler_of(request).diff(_resource_state(request, request.old_inputs, request.olds), news)
        changed = [name for name in diff.changed if name not in request.ignoreChanges]
        replaces = [name for name in diff.replaces if name in changed]
        response = provider_pb2.DiffResponse
        return response(
            changes=response.DIFF_SOME if changed else response.DIFF_NONE,
            diffs=changed,
            replaces=replaces,
            deleteBeforeReplace=diff.delete_before_replace and bool(replaces),
            hasDetailedDiff=True,
            detailedDiff={name: _property_diff(name, replaces, news) for name in changed},
        )

    @grpc_errors
    def Create(self, request: Any, context: Any) -> Any:
        handler, inputs = self._handler_of(request), unwrap_secrets(from_struct(request.properties))
        if request.preview:
            return provider_pb2.CreateResponse(properties=to_struct(handler.preview_outputs(inputs)))
        with self._cancellation(context) as cancellation:
            actual = handler.create(request.urn, _require_known(inputs), cancellation)
        return provider_pb2.CreateResponse(id=actual.id, properties=to_struct(actual.outputs))

    @grpc_errors
    def Update(self, request: Any, context: Any) -> Any:
        handler, news = self._handler_of(request), unwrap_secrets(from_struct(request.news))
        old = _resource_state(request, request.old_inputs, request.olds)
        if request.preview:
            return provider_pb2.UpdateResponse(
                properties=to_struct({**handler.preview_outputs(news), **handler.unchanged_outputs(old)})
            )
        with self._cancellation(context) as cancellation:
            outputs = handler.update(old, _require_known(news), cancellation)
        return provider_pb2.UpdateResponse(properties=to_struct(outputs))

    @grpc_errors
    def Read(self, request: Any, context: Any) -> Any:
        actual = self._handler_of(request).read(_resource_state(request, request.inputs, request.properties))
        # Return the inputs as received, still wrapped, so that secrets stay secret in the state.
        return provider_pb2.ReadResponse(id=actual.id, properties=to_struct(actual.outputs), inputs=request.inputs)

    @grpc_errors
    def Delete(self, request: Any, context: Any) -> Any:
        with self._cancellation(context) as cancellation:
            self._handler_of(request).delete(
                _resource_state(request, request.old_inputs, request.properties), cancellation
            )
        return empty_pb2.Empty()


def _resource_state(request: Any, inputs: Any, outputs: Any) -> ResourceState:
    return ResourceState(
        request.urn, request.id, unwrap_secrets(from_struct(inputs)), unwrap_secrets(from_struct(outputs))
    )


def _require_known(inputs: Props) -> Props:
    if unknown := [key for key, value in inputs.items() if contains_unknown(value)]:
        raise SlipwayError(f"{', '.join(unknown)} must be known before anything can be deployed")
    return inputs


def _property_diff(name: str, replaces: list[str], news: Props) -> Any:
    kind = provider_pb2.PropertyDiff.UPDATE_REPLACE if name in replaces else provider_pb2.PropertyDiff.UPDATE
    return provider_pb2.PropertyDiff(kind=kind, inputDiff=name in news)


def _invalid_inputs_error(urn: str, problems: Sequence[tuple[str, str]]) -> ConfigError:
    *_, type_token, name = urn.split("::")
    return ConfigError(
        f"{name} ({type_token.rpartition('$')[2]}): " + "; ".join(f"`{key}` {reason}" for key, reason in problems),
        remedy=f"Correct it where infra/ declares `{name}`.",
    )


def _bug_report(error: Exception) -> SlipwayError:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    location = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return SlipwayError(f"{type(error).__name__}: {error}{location}", detail="This is a bug in Slipway's provider.")
