"""The inner loop: `invoke dev` watches, builds or copies what a change reaches, and swaps it in behind the gateway.

Two tiers. A change of sources goes the short way, in this process: BuildKit or a copy, a new container, the gateway.
A change of anything else goes the ordinary way, by Pulumi; so does all at the end, so that what runs is a release.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from slipway.content import sync
from slipway.content.digest import BuildInputs, Manifest, describe_all
from slipway.content.service import inputs_of_each
from slipway.flows import devimages
from slipway.flows.deploy import Consent, chosen_stack, deploy, refuse_others_at_first
from slipway.flows.devsettings import Settings
from slipway.flows.ground import ground
from slipway.flows.protection import refuse_lost_protection
from slipway.flows.report import Report
from slipway.flows.session import session
from slipway.flows.standing import standing
from slipway.flows.status import GATEWAY
from slipway.flows.swap import Gateway, Job, Old, Swapper
from slipway.flows.tails import Tails
from slipway.flows.watching import Change, Watch
from slipway.model import lock
from slipway.model import workspace as workspaces
from slipway.model.errors import ConfigError, SlipwayError
from slipway.model.stack import Stack, how_to_deploy
from slipway.model.workspace import Workspace
from slipway.run import engine

HALF_WRITTEN = 0.3
"""Seconds after which a file that could not be read is looked at again: its writer may not have been done."""


class Voice(Report, Protocol):
    """What the loop says: its own lines, the services' logs, and errors that do not end it."""

    def log(self, service: str, line: str) -> None:
        """Pass on a line of a service's log."""

    def problem(self, problem: SlipwayError) -> None:
        """Show an error, with its lines, log and remedy."""


@dataclass(frozen=True)
class Running:
    """One service as it serves now.

    `image` is what its container was made from, `built` what that was built from, `serves` what the container has,
    which is newer where sources were copied into it. A manifest is None when nobody can be sure of it.
    """

    container: Old
    image: str
    built: Manifest | None
    serves: Manifest | None


def work(
    workspace: Workspace, stack: Stack, services: Collection[str], voice: Voice, *, syncing: bool, yes: Consent
) -> None:
    """Work on a stack until the user has enough: bring it up, follow its logs, and serve each change.

    Args:
        workspace: the workspace.
        stack: where its services run.
        services: the names of those that are watched.
        voice: told everything.
        syncing: copy sources into containers where a service's `[dev] sync` allows it.
        yes: answers the questions of a deploy.

    Raises:
        ConfigError: the stack is none to work on.
        Busy: somebody else works on it.
        SlipwayError: it could not be brought up; or at the end it could not be deployed, and runs what it ran before.
        KeyboardInterrupt: the user did not wait for the end.
    """
    refuse(stack)
    refuse_lost_protection(workspace, stack)
    with session(workspace, stack.name), interruptible():
        refuse_others_at_first(standing(workspace), stack)
        loop = Loop(workspace, stack, frozenset(services), voice, yes, syncing=syncing)
        loop.begin()
        try:
            loop.run()
        except KeyboardInterrupt:
            loop.end()
        except SlipwayError:
            loop.end()
            raise


def _how_to_bring(stack: str) -> str:
    return f"`invoke ship --stack {stack}` and `{how_to_deploy(stack)}`"


def _how_to_go_on(stack: str) -> str:
    return f"`{how_to_deploy(stack)}` or `invoke dev --stack {stack}`"


def refuse(stack: Stack) -> None:
    """Raise ConfigError when a stack takes only what was proven, or locked, before it is deployed."""
    if stack.protected:
        raise ConfigError(
            f"`{stack.name}` is protected: nobody works on it by `invoke dev`",
            remedy=f"Work on another stack (`invoke dev --stack dev`); {_how_to_bring(stack.name)} bring it here.",
        )
    if stack.target != "docker":
        raise ConfigError(
            f"`{stack.name}` runs on {stack.target}: `invoke dev` works with a Docker engine only",
            remedy=f"Work on a stack whose slipway:target is docker; {_how_to_bring(stack.name)} bring it here.",
        )
    if stack.images == "external":
        raise ConfigError(
            f"`{stack.name}` takes its images from a lock (external), so a saved line never reaches it",
            remedy=f"`invoke mode inline --stack {stack.name}` or `hybrid`, or work on another stack.",
        )


class Loop:
    """One `invoke dev`: what it knows of the stack, and what it does about a change."""

    def __init__(
        self, workspace: Workspace, stack: Stack, chosen: frozenset[str], voice: Voice, yes: Consent, *, syncing: bool
    ) -> None:
        self._stack, self._chosen, self._voice, self._yes, self._syncing = stack, chosen, voice, yes, syncing
        self._ground = standing(workspace)
        self._workspace = workspace
        self._settings: Settings | None = None
        self._running: dict[str, Running] = {}
        self._deployed: dict[str, str] = {}
        self._deployed_config = ""
        self._as_built: dict[str, bool] = {}
        self._tails = Tails(voice.log)
        self._swapper = Swapper(workspace.deployed_name, stack.name)
        self.watch = Watch(workspace)

    def begin(self) -> None:
        """Bring the stack up and begin to watch; what is saved meanwhile is not lost."""
        self.watch.start()
        self._up()
        ways = "copied where [dev] sync allows it" if self._syncing else "built"
        self._voice.say(
            f"Watching {', '.join(sorted(self._watched()))}: what changes is {ways}. Enter deploys, Ctrl-C ends it."
        )

    def run(self) -> None:
        """Serve each change, until the user interrupts."""
        while True:
            change = self.watch.next()
            try:
                self._serve(change)
            except SlipwayError as error:
                self._voice.problem(error)
                self._voice.say("What ran before still serves. Watching.")

    def end(self) -> None:
        """Leave what Pulumi's state says: deploy what was worked on or, where that cannot be, put back what was there.

        Raises:
            SlipwayError: it could not be deployed; what was there before serves again.
        """
        self.watch.stop()
        self._tails.stop()
        name = self._stack.name
        self._swapper.rest()
        if not any(each.dev for each in engine.containers(self._workspace.deployed_name, name)):
            self._voice.say(f"Ended. {name} runs what was deployed.")
            return
        self._voice.say(f"Deploying what you have, so that {name} runs a release. Ctrl-C again ends at once.")
        try:
            self._up()
        except KeyboardInterrupt:
            self._voice.say(f"Stopped. What you worked on goes on serving until the next {_how_to_go_on(name)}.")
            raise
        except SlipwayError as error:
            self._voice.problem(error)
            self._swapper.put_back(self._deployed, self._deployed_config)
            raise SlipwayError(
                f"what you have cannot be deployed, so {name} runs again what was deployed before",
                remedy=f"Mend that; then {_how_to_go_on(name)}.",
            ) from error
        self._tails.stop()
        self._voice.say(f"Ended. {name} runs what you have, as a release.")

    def _serve(self, change: Change) -> None:
        """Do what a change asks for."""
        workspace = self._read()
        if change.all or Settings.of(workspace, self._stack.name) != self._settings:
            self._up()
            self._voice.say(f"{self._stack.name} is deployed. Watching.")
            return
        self._workspace = workspace
        names = sync.reached(workspace, change.paths) & self._watched()
        inputs = self._inputs(names)
        wanted = describe_all(inputs)
        ways = {name: self._way(name, inputs[name], wanted[name]) for name in names}
        jobs, seconds = self._jobs({name: way for name, way in ways.items() if way != "nothing"}, inputs, wanted)
        if not jobs:
            return
        done = self._swapper.swap(jobs, self._tails.follow)
        sure = self.watch.changes.empty()  # else nobody knows what of it a build or a copy has seen already
        for job in jobs:
            if made := done.containers.get(job.service):
                serves = wanted[job.service] if sure else None
                built = self._running[job.service].built if ways[job.service] == "sync" else serves
                old = Old(made.id, made.name, True, job.image)
                self._running[job.service] = Running(old, job.image, built, serves)
                steps = {ways[job.service]: seconds[job.service], "start": done.starts[job.service]}
                told = " · ".join(f"{name} {took:.1f}" for name, took in {**steps, "switch": done.switch}.items())
                self._voice.say(f"{job.service:<12} {time.monotonic() - change.at:.1f} s  {told}")
        for error in done.failed.values():
            self._voice.problem(error)
            self._voice.say("The one before still serves. Watching.")

    def _read(self) -> Workspace:
        """Return the workspace as its files are now; what cannot be read may be half written, so it is read again."""
        root = self._workspace.root
        with suppress(ConfigError):
            return workspaces.load(root)
        time.sleep(HALF_WRITTEN)
        return workspaces.load(root)

    def _up(self) -> None:
        """Deploy the stack in the ordinary way, and take stock of what then runs."""
        workspace = self._read()
        self._stack = chosen_stack(workspace, self._stack.name)
        refuse(self._stack)
        self._ground = ground(workspace, self._voice, building=True)
        settings = Settings.of(workspace, self._stack.name)
        self._workspace = workspace
        wanted = describe_all(self._inputs({service.name for service in workspace.services}))
        deployed = deploy(self._ground, self._stack, self._voice, self._yes)
        for row in deployed.rows:
            self._voice.say(f"{row.service:<12} {row.health:<10} {row.url}".rstrip())
        self._take_stock(wanted)
        self._settings = settings

    def _take_stock(self, wanted: Mapping[str, Manifest]) -> None:
        found = {each.service: each for each in engine.containers(self._workspace.deployed_name, self._stack.name)}
        fresh = {name for name, each in found.items() if each.id != self._deployed.get(name)}
        self._deployed = {name: each.id for name, each in found.items() if name != GATEWAY}
        with engine.speaking():
            self._deployed_config = Gateway.of(self._workspace.deployed_name, self._stack.name).live
        self._running = {
            name: Running(Old(each.id, each.name, False, each.image), each.image, wanted[name], wanted[name])
            for name, each in found.items()
            if name in wanted
        }
        for name in self._running.keys() & self._chosen_now():
            self._tails.follow(name, found[name].id, tail=0 if name not in fresh or not self._settings else None)

    def _chosen_now(self) -> frozenset[str]:
        names = frozenset(service.name for service in self._workspace.services)
        return names & self._chosen if self._chosen else names

    def _watched(self) -> frozenset[str]:
        """Return the services whose sources decide what runs: a hybrid stack's locked ones run what is locked."""
        held = self._stack.images == "hybrid"
        locked = lock.load(self._workspace.root, self._stack.name).services if held else {}
        return self._chosen_now() - locked.keys()

    def _inputs(self, names: Collection[str]) -> dict[str, BuildInputs]:
        return inputs_of_each(self._workspace, map(self._workspace.service, sorted(names)))

    def _way(self, name: str, inputs: BuildInputs, wanted: Manifest) -> sync.Way:
        """Return how a service gets to its present sources."""
        running = self._running.get(name)
        if running is None:
            return "nothing"
        folders = self._folders(name)
        way = sync.way(running.built, running.serves, wanted, folders)
        if way == "sync" and not self._holds(running, inputs, folders, wanted):
            return "build"
        return way

    def _folders(self, name: str) -> list[sync.Folder]:
        entries = self._workspace.service(name).settings.dev.sync if self._syncing else ()
        return [sync.Folder.of(entry) for entry in entries]

    def _holds(self, running: Running, inputs: BuildInputs, folders: Sequence[sync.Folder], wanted: Manifest) -> bool:
        """Whether an image has the folders just as its sources had them; it is looked at once."""
        if running.image not in self._as_built and running.built is not None:
            self._as_built[running.image] = devimages.holds(
                running.container.id, inputs, folders, running.built, wanted
            )
            if not self._as_built[running.image]:
                self._voice.say("The image does not hold the folders of [dev] sync as they are: building instead.")
        return self._as_built.get(running.image, False)

    def _jobs(
        self, ways: Mapping[str, sync.Way], inputs: Mapping[str, BuildInputs], wanted: Mapping[str, Manifest]
    ) -> tuple[list[Job], dict[str, float]]:
        """Build and pack; return what is to be swapped in, and the seconds that took for each service."""
        began = time.monotonic()
        packed = {
            name: devimages.pack(self._running[name].image, inputs[name], self._folders(name))
            for name, way in ways.items()
            if way == "sync"
        }
        seconds = dict.fromkeys(packed, time.monotonic() - began)
        began = time.monotonic()
        images = devimages.build(self._ground, {name: inputs[name] for name, way in ways.items() if way == "build"})
        seconds |= dict.fromkeys(images, time.monotonic() - began)
        jobs = []
        for name in ways:
            running = self._running[name]
            image = images.get(name, running.image)
            if name in images and image == running.image and running.built == running.serves:
                self._running[name] = replace(running, built=wanted[name], serves=wanted[name])
                self._voice.say(f"{name:<12} is the same image as before")
            else:
                jobs.append(Job(name, image, running.container, packed.get(name, {})))
        return jobs, seconds


@contextmanager
def interruptible() -> Iterator[None]:
    """Take SIGTERM as Ctrl-C for the time of a `with`, and Ctrl-C also where the shell had this ignore it."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
