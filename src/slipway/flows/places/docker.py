"""A stack on a Docker engine: a container for each service, and the gateway before them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace

from slipway.flows.atonce import at_once
from slipway.flows.places import Again, abandoned, containers
from slipway.flows.recording import Recorder
from slipway.flows.report import Report
from slipway.flows.status import GATEWAY, Status, ago, short
from slipway.model.errors import ConfigError, SlipwayError
from slipway.model.stack import Stack, how_to_deploy
from slipway.model.workspace import Workspace
from slipway.provider import drain, gateway, nginx
from slipway.provider.kind import Stop
from slipway.run import engine
from slipway.run.owner import Owner, Thing, owner_of, refuse_others, state_ids
from slipway.run.state import local_state, locks
from slipway.run.things import empty_network, sweep, things

STARTING = "container: starting"
STARTS = "container: getting the image", "container: starting", "container: becoming healthy"
"""What the start of a container is on record as, and what it is made of."""

STRAY_SECONDS = 10
"""How long a container that nothing sends requests to may take to end."""


@dataclass(frozen=True)
class Docker:
    """One stack on the Docker engine."""

    workspace: Workspace
    stack: Stack

    @property
    def name(self) -> str:
        """What the stack's containers are called after."""
        return self.workspace.deployed_name

    def owner(self) -> Owner:
        """Return whose the stack's objects are that this folder deploys; a folder that never did owns none."""
        return owner_of(self.workspace.root, make=False)

    def containers(self) -> list[engine.Container]:
        """Return the stack's containers that are this folder's own."""
        return self._own(self.owner())

    def _own(self, owner: Owner) -> list[engine.Container]:
        verdicts = [(each, owner.judge(each.labels)) for each in engine.containers(self.name, self.stack.name)]
        known = (self._known() or ()) if any(verdict == "other" for _, verdict in verdicts) else ()
        return [
            each
            for each, verdict in verdicts
            if verdict in ("own", "unsaid") or (verdict == "other" and each.id in known)
        ]

    def _known(self) -> Collection[str] | None:
        """Return the ids that the stack's state knows; None where that cannot be read here at once."""
        return state_ids(self.workspace.root, self.workspace.name, self.stack.name)

    def refuse_others(self, known: Callable[[], Collection[str]]) -> None:
        owner = owner_of(self.workspace.root)
        refuse_others(owner, self.stack.name, things(self.name, self.stack.name), known)

    def status(self) -> list[Status]:
        found, known = [_asked_again(each) for each in self.containers()], self._known()
        if not found:
            return []
        rows, deploy = [], how_to_deploy(self.stack.name)
        expected = [*(each.name for each in self.workspace.services if not each.settings.job), GATEWAY]
        for name in expected:
            mine, strays = containers.sort_out([each for each in found if each.service == name], known)
            if mine is None:
                rows.append(Status(name, "missing", "-", "-", f"not there: `{deploy}` restores it"))
            else:
                drift = containers.drift_of(mine, self.stack.name) or (
                    self._gateway_drift(mine) if name == GATEWAY else ""
                )
                rows.append(_row(mine, drift))
            rows += [_row(each, f"a stray that no state knows: `{deploy}` removes it") for each in strays]
        rows += [_row(each, "no such service any more") for each in found if each.service not in expected]
        return rows

    def _gateway_drift(self, mine: engine.Container) -> str:
        problem = gateway.problem_of(mine.id)
        return f"{problem}: `{how_to_deploy(self.stack.name)}` replaces it" if problem else ""

    def logs(self, service: str, *, follow: bool, tail: int) -> Iterator[str]:
        running = [each for each in self.containers() if each.service == service]
        if not running:
            raise ConfigError(
                f"{service} does not run in {self.stack.name}",
                remedy=f"`invoke status --stack {self.stack.name}` shows what does; "
                f"`{how_to_deploy(self.stack.name)}` starts it.",
            )
        mine, _ = containers.sort_out(running, self._known())
        yield from engine.logs((mine or running[-1]).id, tail=tail, follow=follow)

    def running(self) -> list[tuple[str, str]]:
        return [(each.name, each.image) for each in self.containers()]

    def digests(self) -> dict[str, str]:
        return {name: each.image.partition("@")[2] for name, each in self._by_service().items()}

    def _by_service(self) -> dict[str, engine.Container]:
        found, known = self.containers(), self._known()
        services = {each.service for each in found}
        sorted_out = {name: containers.sort_out([e for e in found if e.service == name], known)[0] for name in services}
        return {name: each for name, each in sorted_out.items() if each}

    def healths(self, services: Collection[str]) -> dict[str, str]:
        found = self._by_service()
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
        sweep(self.name, self.stack.name, {*known, *serving}, self._has)

    def _has(self, thing: Thing) -> bool:
        return self.owner().has(thing.labels)

    def taking_over(self) -> AbstractContextManager[None]:
        return nullcontext()  # it was removed

    @contextmanager
    def watched(self, report: Report, rolling: Collection[str]) -> Iterator[None]:  # noqa: ARG002
        try:
            yield  # the provider tells it
        finally:
            nginx.take_back(self.name, self.stack.name)

    def settle(self, report: Report, known: Callable[[], Collection[str] | None]) -> None:
        found = self.containers()
        at_once([each for each in found if each.dev], lambda each: each.id, self._end_made_by_dev)
        folder = local_state(self.workspace.root)
        # What was there before nobody held the lock, and is in no state after that, nobody is about to put there.
        if folder and locks(folder, self.workspace.name, self.stack.name):
            return
        old = [each for each in found if not each.dev and (folder or containers.is_old(each))]
        ids = known() if old and (folder or len({each.service for each in old}) < len(old)) else None
        for each in [] if ids is None else [each for each in old if each.id not in ids]:
            report.say(f"Removing {each.name}, a stray that no state knows.")
            engine.remove(each.id, name=each.name, grace=STRAY_SECONDS)

    def _end_made_by_dev(self, made: engine.Container) -> None:
        settings = {each.name: each.settings for each in self.workspace.services}.get(made.service)
        seconds, port = (settings.drain, settings.port) if settings else (0, None)
        drain.end(made.id, seconds, Stop(), port=port)
        engine.forget_image(made.image)

    def emptied(self, report: Report) -> None:  # noqa: ARG002 - the engine removes at once
        sweep(self.name, self.stack.name, (), self._has)
        for each in things(self.name, self.stack.name):
            if each.kind == "network" and self._has(each):
                with engine.speaking():
                    network = engine.client().networks.get(each.id)
                    empty_network(network, lambda inside: engine.WORKSPACE in inside.labels and self._has(inside))
                    network.remove()

    def remove_abandoned(self, report: Report, consent: Callable[[str], bool]) -> int:
        owner, known = owner_of(self.workspace.root), self._known() or ()
        found = [each for each in things(self.name, self.stack.name) if each.id not in known]
        return abandoned.remove(owner, self.stack.name, found, report, consent)

    def explained(
        self,
        error: SlipwayError,
        failed: Collection[str],  # noqa: ARG002 - the provider has explained it,
        earlier: Callable[[], Mapping[str, str]],  # noqa: ARG002 - and what ran before still serves
        again: Again,  # noqa: ARG002
    ) -> SlipwayError:
        return error


def _asked_again(each: engine.Container) -> engine.Container:
    """Return a container as it is now where the engine has found it unhealthy, which may be long over."""
    return replace(each, health=engine.health_now(each)) if each.health == "unhealthy" else each


def _row(each: engine.Container, drift: str) -> Status:
    return Status(each.service, each.health or each.state, short(each.image), ago(each.created), drift)
