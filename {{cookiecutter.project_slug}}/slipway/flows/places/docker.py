"""A stack on a Docker engine: a container for each service, and the gateway before them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass

from slipway.flows.atonce import at_once
from slipway.flows.places import Again
from slipway.flows.recording import Recorder
from slipway.flows.report import Report
from slipway.flows.status import GATEWAY, Status, ago, short
from slipway.model.errors import ConfigError, SlipwayError
from slipway.model.stack import Stack
from slipway.model.workspace import Workspace
from slipway.provider import drain, nginx
from slipway.provider.kind import Stop
from slipway.run import engine

STARTING = "container: starting"
STARTS = "container: getting the image", "container: starting", "container: becoming healthy"
"""What the start of a container is on record as, and what it is made of."""


@dataclass(frozen=True)
class Docker:
    """One stack on the Docker engine."""

    workspace: Workspace
    stack: Stack

    def containers(self) -> list[engine.Container]:
        return engine.containers(self.workspace.name, self.stack.name)

    def status(self) -> list[Status]:
        found = {each.service: each for each in self.containers()}
        if not found:
            return []
        rows = []
        for name in [*(each.name for each in self.workspace.services if not each.settings.job), GATEWAY]:
            each = found.pop(name, None)
            if each is None:
                rows.append(Status(name, "missing", "-", "-", "not there: `invoke up` restores it"))
                continue
            state = each.health or each.state
            drift = "" if each.state == "running" else f"it is {each.state}: `invoke up` restores it"
            drift = drift or ("made by `invoke dev`: `invoke up` deploys it" if each.dev else "")
            rows.append(Status(name, state, short(each.image), ago(each.created), drift))
        rows += [
            Status(name, each.state, short(each.image), ago(each.created), "no such service any more")
            for name, each in found.items()
        ]
        return rows

    def logs(self, service: str, *, follow: bool, tail: int) -> Iterator[str]:
        running = [each for each in self.containers() if each.service == service]
        if not running:
            raise ConfigError(
                f"{service} does not run in {self.stack.name}",
                remedy=f"`invoke status --stack {self.stack.name}` shows what does; `invoke up` starts it.",
            )
        yield from engine.logs(running[-1].id, tail=tail, follow=follow)

    def running(self) -> list[tuple[str, str]]:
        return [(each.name, each.image) for each in self.containers()]

    def digests(self) -> dict[str, str]:
        return {each.service: each.image.partition("@")[2] for each in self.containers()}

    def healths(self, services: Collection[str]) -> dict[str, str]:
        found = {each.service: each for each in self.containers()}
        jobs = {each.name for each in self.workspace.services if each.settings.job}
        missing = {name: "not run here" if name in jobs else "missing" for name in services}
        return {name: engine.health_now(found[name]) if name in found else missing[name] for name in services}

    def drifted(self, live: Callable[[], Mapping[str, str]]) -> list[str]:  # noqa: ARG002
        return []  # the provider looks for itself at what really runs

    def started(self, record: Recorder) -> None:
        new = record.ended(STARTING)
        for each in self.containers() if new else []:
            if each.service in new:
                with suppress(SlipwayError):  # gone since: the record tells its start as a whole
                    record.divide(each.service, STARTING, STARTS, engine.moments(each.id))

    def clear(self, known: Collection[str]) -> None:
        # What `invoke dev` made is in no state either, but serves until the deploy has something in its place.
        serving = {each.id for each in self.containers() if each.dev}
        engine.sweep(self.workspace.name, self.stack.name, keep_ids={*known, *serving})

    def taking_over(self) -> AbstractContextManager[None]:
        return nullcontext()  # it was removed

    @contextmanager
    def watched(self, report: Report, rolling: Collection[str]) -> Iterator[None]:  # noqa: ARG002
        try:
            yield  # the provider tells it
        finally:
            nginx.take_back(self.workspace.name, self.stack.name)

    def settle(self) -> None:
        known = {each.name: each.settings for each in self.workspace.services}

        def end(made: engine.Container) -> None:
            settings = known.get(made.service)
            seconds, port = (settings.drain, settings.port) if settings else (0, None)
            drain.end(made.id, seconds, Stop(), port=port)
            engine.forget_image(made.image)

        at_once([each for each in self.containers() if each.dev], lambda each: each.id, end)

    def emptied(self, report: Report) -> None:  # noqa: ARG002 - the engine removes at once
        engine.sweep(self.workspace.name, self.stack.name, keep_ids=())

    def explained(
        self,
        error: SlipwayError,
        failed: Collection[str],  # noqa: ARG002 - the provider has explained it,
        earlier: Callable[[], Mapping[str, str]],  # noqa: ARG002 - and what ran before still serves
        again: Again,  # noqa: ARG002
    ) -> SlipwayError:
        return error
