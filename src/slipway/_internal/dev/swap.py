"""Replaces running containers behind the gateway, without Pulumi, for `invoke dev`.

The steps are a deployment's own: the new one is healthy before the gateway is switched, and only then the old one ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout import container, drain, health
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.container import ContainerSpec, DevOverlay
from slipway._internal.rollout.desired import desired_container
from slipway._internal.rollout.live_gateway import LiveGateway
from slipway._internal.run import engine


@dataclass(frozen=True)
class ReplacedContainer:
    """The container that a new one takes the place of; one of Pulumi's is kept, stopped, until Pulumi replaces it."""

    id: str
    name: str
    dev: bool
    image: str


@dataclass(frozen=True)
class SwapRequest:
    """One service's new container: from which image, with which folders copied into it, in whose place."""

    service: str
    image: str
    replaced: ReplacedContainer
    folders: dict[str, bytes] = field(default_factory=dict, repr=False)


@dataclass
class SwapResult:
    """How the jobs went: new containers by service, what failed, and seconds: each start, and the switch of all."""

    containers: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, SlipwayError] = field(default_factory=dict)
    starts: dict[str, float] = field(default_factory=dict)
    switch: float = 0.0


class ContainerSwapper:
    """Swaps a stack's containers; those replaced end in the background, once their last request is answered."""

    def __init__(self, workspace: str, stack: str) -> None:
        self._workspace, self._stack = workspace, stack
        self._drain_threads: list[threading.Thread] = []

    def swap(self, requests: Iterable[SwapRequest], on_start: Callable[[str, str], None]) -> SwapResult:
        """Bring up all the jobs' containers at once, and switch the gateway to those that got healthy.

        Args:
            requests: what to do.
            on_start: told a service and its new container's id as soon as that is healthy.

        Raises:
            SlipwayError: the gateway cannot be switched; what ran before still serves.
        """
        requests, cancellation, result = list(requests), CancellationToken(), SwapResult()
        specs = {request.service: self._spec_of(request) for request in requests}
        names = {service: container.new_container_name(spec) for service, (_, spec) in specs.items()}

        def start_container(request: SwapRequest) -> Any:
            started_at = time.monotonic()
            urn, spec = specs[request.service]
            new_container = container.create_healthy_container(
                spec, names[request.service], urn, cancellation, DevOverlay(request.folders)
            )
            result.starts[request.service] = time.monotonic() - started_at
            on_start(request.service, new_container.id)
            return new_container

        pool = ThreadPoolExecutor(max(1, len(requests)))
        futures = {request.service: pool.submit(start_container, request) for request in requests}
        switched = False
        try:
            with engine.docker_errors():
                gateway = (
                    LiveGateway.of(self._workspace, self._stack)
                    if any(spec.port for _, spec in specs.values())
                    else None
                )
                wait(futures.values())
                self._collect(futures, result)
                switch_started = time.monotonic()
                if gateway and result.containers:
                    upstreams = {name: f"{names[name]}:{specs[name][1].port}" for name in result.containers}
                    switched = True  # an interrupt from here on: the new ones may be what serves
                    gateway.switch_upstreams(upstreams, cancellation)
                result.switch = time.monotonic() - switch_started
        except BaseException as error:
            cancellation.cancel()
            pool.shutdown()
            if not switched or isinstance(error, SlipwayError):  # what serves then is what served before
                for service, future in futures.items():
                    if future.done() and not future.exception():  # the others have removed what they made
                        with suppress(SlipwayError):
                            engine.remove_container(future.result().id, name=names[service])
            raise
        pool.shutdown()
        for request in requests:
            if request.service in result.containers:
                self._end_in_background(request.replaced, specs[request.service][1])
        return result

    def wait_for_drains(self) -> None:
        """Wait until the containers that were replaced have ended, each in its own time."""
        for thread in self._drain_threads:
            thread.join()
        self._drain_threads = []

    def restore_deployed(self, deployed: Mapping[str, str], gateway_config: Mapping[str, str]) -> None:
        """Let what Pulumi deployed serve again: start it, switch the gateway back, remove what took its place.

        Args:
            deployed: service → id of the container that Pulumi's state has.
            gateway_config: the files of the gateway's configuration as Pulumi left it.

        Raises:
            SlipwayError: something of it is gone or does not get healthy; what serves goes on.
        """
        running = engine.list_containers(self._workspace, self._stack)
        replaced = {engine_container.service for engine_container in running if engine_container.dev}
        with engine.docker_errors():
            for service in sorted(replaced & deployed.keys()):
                deployed_container = engine.client().containers.get(deployed[service])
                deployed_container.start()
                deployed_container.update(restart_policy=engine.RESTART_POLICY)
                spec = desired_container(self._stack, service)[1]
                health.wait_until_healthy(
                    deployed_container,
                    engine.read_health_check(deployed_container.image),
                    spec.healthTimeout,
                    CancellationToken(),
                    spec.port,
                )
            gateway = LiveGateway.of(self._workspace, self._stack)
            gateway.switch_back(gateway_config, CancellationToken())
        for engine_container in running:
            if engine_container.dev:
                self._end_in_background(
                    ReplacedContainer(engine_container.id, engine_container.name, True, engine_container.image),
                    desired_container(self._stack, engine_container.service)[1],
                )
        self.wait_for_drains()

    def _spec_of(self, request: SwapRequest) -> tuple[str, ContainerSpec]:
        urn, spec = desired_container(self._stack, request.service)
        return urn, replace(spec, image=request.image)

    def _collect(self, futures: Mapping[str, Future[Any]], result: SwapResult) -> None:
        for service, future in futures.items():
            error = future.exception()
            if error is None:
                result.containers[service] = future.result()
            elif isinstance(error, SlipwayError):
                result.failed[service] = error
            else:
                raise error

    def _end_in_background(self, replaced: ReplacedContainer, spec: ContainerSpec) -> None:
        thread = threading.Thread(target=_end_replaced, args=(replaced, spec), daemon=True)
        self._drain_threads = [*(ending for ending in self._drain_threads if ending.is_alive()), thread]
        thread.start()


def _end_replaced(replaced: ReplacedContainer, spec: ContainerSpec) -> None:
    with suppress(SlipwayError), engine.docker_errors():
        drain.drain_container(replaced.id, spec.drainSeconds, CancellationToken(), port=spec.port, remove=replaced.dev)
        if replaced.dev:
            engine.remove_image(replaced.image)
