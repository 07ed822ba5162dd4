"""Puts new containers in the place of running ones, behind the gateway and without Pulumi: what `invoke dev` does.

The steps are the provider's own: the new one is healthy before the gateway is switched, and only then the old one ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from slipway.commands.nginx import Route, config, read_back
from slipway.model.errors import SlipwayError
from slipway.model.stack import how_to_deploy
from slipway.provider import container, drain, health, nginx
from slipway.provider.container import Dev, Wanted
from slipway.provider.kind import Stop
from slipway.provider.serve import wishes
from slipway.run import engine

CONTAINER = "slipway:docker:Container"


@dataclass(frozen=True)
class Old:
    """The container that a new one takes the place of; one of Pulumi's is kept, stopped, until Pulumi replaces it."""

    id: str
    name: str
    dev: bool
    image: str


@dataclass(frozen=True)
class Job:
    """One service's new container: from which image, with which folders copied into it, in whose place."""

    service: str
    image: str
    old: Old
    folders: dict[str, bytes] = field(default_factory=dict, repr=False)


@dataclass
class Swapped:
    """How the jobs went: new containers by service, what failed, and seconds: each start, and the switch of all."""

    containers: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, SlipwayError] = field(default_factory=dict)
    starts: dict[str, float] = field(default_factory=dict)
    switch: float = 0.0


class Swapper:
    """Swaps a stack's containers; those replaced end in the background, once their last request is answered."""

    def __init__(self, workspace: str, stack: str) -> None:
        self._workspace, self._stack = workspace, stack
        self._ending: list[threading.Thread] = []

    def swap(self, jobs: Iterable[Job], on_start: Callable[[str, str], None]) -> Swapped:
        """Bring up all the jobs' containers at once, and switch the gateway to those that got healthy.

        Args:
            jobs: what to do.
            on_start: told a service and its new container's id as soon as that is healthy.

        Raises:
            SlipwayError: the gateway cannot be switched; what ran before still serves.
        """
        jobs, stop, done = list(jobs), Stop(), Swapped()
        wanted = {job.service: self._wanted(job) for job in jobs}
        names = {service: container.new_name(each) for service, (_, each) in wanted.items()}

        def bring_up(job: Job) -> Any:
            began = time.monotonic()
            urn, wish = wanted[job.service]
            made = container.bring_up(wish, names[job.service], urn, stop, Dev(job.folders))
            done.starts[job.service] = time.monotonic() - began
            on_start(job.service, made.id)
            return made

        pool = ThreadPoolExecutor(max(1, len(jobs)))
        futures = {job.service: pool.submit(bring_up, job) for job in jobs}
        switched = False
        try:
            with ExitStack() as until_switched, engine.speaking():
                gateway = Gateway.of(self._workspace, self._stack) if any(w.port for _, w in wanted.values()) else None
                if gateway:
                    until_switched.enter_context(nginx.closing(gateway.container, gateway.live))
                wait(futures.values())
                self._collect(futures, done)
                began = time.monotonic()
                if gateway and done.containers:
                    upstreams = {name: f"{names[name]}:{wanted[name][1].port}" for name in done.containers}
                    switched = True  # an interrupt from here on: the new ones may be what serves
                    gateway.switch(upstreams, stop)
                done.switch = time.monotonic() - began
        except BaseException as error:
            stop.set()
            pool.shutdown()
            if not switched or isinstance(error, SlipwayError):  # what serves then is what served before
                for service, future in futures.items():
                    if future.done() and not future.exception():  # the others have removed what they made
                        with suppress(SlipwayError):
                            engine.remove(future.result().id, name=names[service])
            raise
        pool.shutdown()
        for job in jobs:
            if job.service in done.containers:
                self._end(job.old, wanted[job.service][1])
        return done

    def rest(self) -> None:
        """Wait until the containers that were replaced have ended, each in its own time."""
        for thread in self._ending:
            thread.join()
        self._ending = []

    def put_back(self, deployed: Mapping[str, str], text: str) -> None:
        """Let what Pulumi deployed serve again: start it, switch the gateway back, remove what took its place.

        Args:
            deployed: service → id of the container that Pulumi's state has.
            text: the gateway's nginx.conf as Pulumi left it.

        Raises:
            SlipwayError: something of it is gone or does not get healthy; what serves goes on.
        """
        running = engine.containers(self._workspace, self._stack)
        replaced = {each.service for each in running if each.dev}
        with engine.speaking():
            for service in sorted(replaced & deployed.keys()):
                found = engine.client().containers.get(deployed[service])
                found.start()
                found.update(restart_policy=engine.RESTART)
                wanted = Wanted.of(_wish(self._stack, service)[1])
                health.wait(found, engine.health_check(found.image), wanted.healthTimeout, Stop(), wanted.port)
            gateway = Gateway.of(self._workspace, self._stack)
            if gateway.live != text:
                nginx.switch(gateway.container, text, Stop())
        for each in running:
            if each.dev:
                self._end(Old(each.id, each.name, True, each.image), Wanted.of(_wish(self._stack, each.service)[1]))
        self.rest()

    def _wanted(self, job: Job) -> tuple[str, Wanted]:
        urn, inputs = _wish(self._stack, job.service)
        return urn, replace(Wanted.of(inputs), image=job.image)

    def _collect(self, futures: Mapping[str, Future[Any]], done: Swapped) -> None:
        for service, future in futures.items():
            error = future.exception()
            if error is None:
                done.containers[service] = future.result()
            elif isinstance(error, SlipwayError):
                done.failed[service] = error
            else:
                raise error

    def _end(self, old: Old, wanted: Wanted) -> None:
        thread = threading.Thread(target=_end, args=(old, wanted), daemon=True)
        self._ending = [*(each for each in self._ending if each.is_alive()), thread]
        thread.start()


@dataclass(frozen=True)
class Gateway:
    """The stack's gateway as it serves now: its container and its live configuration, read back."""

    container: Any
    live: str
    routes: tuple[Route, ...]

    @classmethod
    def of(cls, workspace: str, stack: str) -> Gateway:
        """Return the gateway that runs.

        Raises:
            SlipwayError: none does, or somebody else has changed its configuration.
        """
        running = [each for each in engine.containers(workspace, stack) if each.service == nginx.SERVICE]
        if not running or running[-1].state != "running":
            raise SlipwayError(f"the gateway of {stack} does not run", remedy="Press Enter: `up` restores it.")
        found = engine.client().containers.get(running[-1].id)
        live = nginx.live_config(found)
        return cls(found, live, read_back(live)[0])

    def switch(self, upstreams: Mapping[str, str], stop: Stop) -> None:
        """Send services' requests to other containers; those in flight go on."""
        routes = [replace(each, upstream=upstreams.get(each.service, each.upstream)) for each in self.routes]
        text = config(routes, drain_seconds=nginx.CUT_SECONDS)
        if text != self.live:
            nginx.take_up(self.container, nginx.close(self.container), text, stop)


def _wish(stack: str, service: str) -> tuple[str, dict[str, Any]]:
    """Return the URN of a service's container, and what Pulumi last wanted it to be."""
    for urn, inputs in wishes().items():
        if urn.startswith(f"urn:pulumi:{stack}::") and urn.endswith(f"{CONTAINER}::{service}"):
            return urn, inputs
    raise SlipwayError(
        f"{service} has no container in {stack} that `invoke dev` could replace",
        remedy=f"`{how_to_deploy(stack)}` deploys what infra/targets says.",
    )


def _end(old: Old, wanted: Wanted) -> None:
    with suppress(SlipwayError), engine.speaking():
        drain.end(old.id, wanted.drainSeconds, Stop(), port=wanted.port, remove=old.dev)
        if old.dev:
            engine.forget_image(old.image)
