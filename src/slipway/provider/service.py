"""The provider as Pulumi sees it: its gRPC protocol on one side, the kinds of resources on the other.

Written on the plain protocol, with a thread for each call as Docker's SDK blocks; an error is plain lines,
never a traceback. The protocol: github.com/pulumi/pulumi/blob/master/proto/pulumi/provider.proto
"""

# ruff: noqa: ARG002 - the protocol gives more than each method needs

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from slipway import __version__
from slipway.model.errors import SlipwayError
from slipway.provider.container import Container
from slipway.provider.gateway import Gateway
from slipway.provider.kind import Kind, State, Stop
from slipway.provider.network import Network
from slipway.provider.ownership import look_again
from slipway.provider.protection import Protection
from slipway.provider.release import Live, Release
from slipway.provider.report import as_text
from slipway.provider.suffix import Suffix
from slipway.provider.values import Props, holds_unknown, plain, read, write

NAME = "slipway"
KINDS: dict[str, Kind] = {
    "slipway:docker:Network": Network(),
    "slipway:docker:Container": Container(),
    "slipway:docker:Gateway": Gateway(),
    "slipway:index:Release": Release(),
    "slipway:index:Live": Live(),
    "slipway:index:Suffix": Suffix(),
    "slipway:index:Protection": Protection(),
}
CONVERSATION = {"accept_secrets": True, "accept_resources": False, "accept_outputs": False}

Method = Callable[[Any, Any, grpc.ServicerContext], Any]


def told(method: Method) -> Method:
    """Answer with an error's plain words instead of a traceback."""

    @functools.wraps(method)
    def guarded(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except SlipwayError as error:
            message = as_text(error)
        except Exception as error:  # a bug: its kind and place help more than nothing
            message = _bug(error)
        return context.abort(grpc.StatusCode.UNKNOWN, message)

    return guarded


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Serves Slipway's resources to one Pulumi engine at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._stops: set[Stop] = set()
        self.wishes: dict[str, Props] = {}
        """What the engine last wanted each resource to be, by URN; secrets plain, so it never leaves this process."""

    def cancel(self) -> None:
        """End all waiting; what is being made is cleared away."""
        with self._lock:
            self._cancelled = True
            for stop in self._stops:
                stop.set()

    @contextmanager
    def _stop(self, context: grpc.ServicerContext) -> Iterator[Stop]:
        """Yield what ends one call's waiting: the user's interrupt, or Pulumi's own end."""
        stop = Stop()
        with self._lock:
            self._stops.add(stop)
            if self._cancelled:
                stop.set()
        if not context.add_callback(stop.set):
            stop.set()
        try:
            yield stop
        finally:
            with self._lock:
                self._stops.discard(stop)

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse(**CONVERSATION)

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=__version__)

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": NAME, "version": __version__}))

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        look_again()
        self._cancelled = False  # a provider in a thread may outlive an interrupted deployment
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, acceptResources=False, acceptOutputs=False, supportsPreview=True
        )

    def Cancel(self, request: Any, context: Any) -> Any:
        self.cancel()
        return empty_pb2.Empty()

    @told
    def Check(self, request: Any, context: Any) -> Any:
        kind = _kind(request)
        checked = kind.check(read(request.news))
        found = checked.failures or kind.refusals(plain(read(request.olds)), plain(checked.inputs))
        failures = [provider_pb2.CheckFailure(property=name, reason=reason) for name, reason in found]
        return provider_pb2.CheckResponse(inputs=write(checked.inputs), failures=failures)

    @told
    def Diff(self, request: Any, context: Any) -> Any:
        self.wishes[request.urn] = news = plain(read(request.news))
        diff = _kind(request).diff(_state(request, request.old_inputs, request.olds), news)
        changed = [name for name in diff.changed if name not in request.ignoreChanges]
        replaces = [name for name in diff.replaces if name in changed]
        answer = provider_pb2.DiffResponse
        return answer(
            changes=answer.DIFF_SOME if changed else answer.DIFF_NONE,
            diffs=changed,
            replaces=replaces,
            deleteBeforeReplace=diff.delete_first and bool(replaces),
            hasDetailedDiff=True,
            detailedDiff={name: _difference(name, replaces, news) for name in changed},
        )

    @told
    def Create(self, request: Any, context: Any) -> Any:
        kind, inputs = _kind(request), plain(read(request.properties))
        if request.preview:
            return provider_pb2.CreateResponse(properties=write(kind.foresee(inputs)))
        self.wishes[request.urn] = inputs
        with self._stop(context) as stop:
            real = kind.create(request.urn, _known(inputs), stop)
        return provider_pb2.CreateResponse(id=real.id, properties=write(real.outputs))

    @told
    def Update(self, request: Any, context: Any) -> Any:
        kind, news = _kind(request), plain(read(request.news))
        old = _state(request, request.old_inputs, request.olds)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=write({**kind.foresee(news), **kind.kept(old)}))
        with self._stop(context) as stop:
            outputs = kind.update(old, _known(news), stop)
        return provider_pb2.UpdateResponse(properties=write(outputs))

    @told
    def Read(self, request: Any, context: Any) -> Any:
        real = _kind(request).read(_state(request, request.inputs, request.properties))
        # The inputs go back as they came, still wrapped: so secrets stay secrets in the state.
        return provider_pb2.ReadResponse(id=real.id, properties=write(real.outputs), inputs=request.inputs)

    @told
    def Delete(self, request: Any, context: Any) -> Any:
        with self._stop(context) as stop:
            _kind(request).delete(_state(request, request.old_inputs, request.properties), stop)
        return empty_pb2.Empty()


def _kind(request: Any) -> Kind:
    name = request.urn.split("::")[2].rpartition("$")[2]
    if name not in KINDS:
        raise SlipwayError(f"{name} is no resource of Slipway's; there are {', '.join(sorted(KINDS))}")
    return KINDS[name]


def _state(request: Any, inputs: Any, outputs: Any) -> State:
    return State(request.urn, request.id, plain(read(inputs)), plain(read(outputs)))


def _known(inputs: Props) -> Props:
    if unknown := [key for key, value in inputs.items() if holds_unknown(value)]:
        raise SlipwayError(f"{', '.join(unknown)} must be known before anything can be deployed")
    return inputs


def _difference(name: str, replaces: list[str], news: Props) -> Any:
    kind = provider_pb2.PropertyDiff.UPDATE_REPLACE if name in replaces else provider_pb2.PropertyDiff.UPDATE
    return provider_pb2.PropertyDiff(kind=kind, inputDiff=name in news)


def _bug(error: Exception) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}: {error}{place}\nThis is a bug in Slipway's provider."
