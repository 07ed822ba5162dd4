"""The loop of `invoke dev`: watches, builds or copies what a change affects, and swaps it in behind the gateway.

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

from slipway._internal.build.environment import prepare_environment
from slipway._internal.content import sync
from slipway._internal.content.digest import BuildInputs, ContentManifest, content_manifests
from slipway._internal.content.service_inputs import build_inputs_by_service
from slipway._internal.context.protection import refuse_lost_protection
from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import current_environment
from slipway._internal.dev import images
from slipway._internal.dev.log_follower import LogFollower
from slipway._internal.dev.settings import DeployedSettings
from slipway._internal.dev.swap import ContainerSwapper, ReplacedContainer, SwapRequest
from slipway._internal.dev.watcher import Change, WorkspaceWatcher
from slipway._internal.model import lock
from slipway._internal.model import workspace as workspaces
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.stack import Stack, how_to_deploy
from slipway._internal.model.workspace import Workspace
from slipway._internal.release.deploy import Consent, deploy_stack, load_stack, refuse_foreign_objects_early
from slipway._internal.release.session_lock import dev_session_lock
from slipway._internal.rollout.live_gateway import LiveGateway
from slipway._internal.run import engine
from slipway._internal.targets.status import GATEWAY

REREAD_SECONDS = 0.3
"""Seconds after which a file that could not be read is looked at again: its writer may not have been done."""


class DevConsole(Reporter, Protocol):
    """What the loop says: its own lines, the services' logs, and errors that do not end it."""

    def log(self, service: str, line: str) -> None:
        """Pass on a line of a service's log."""

    def show_error(self, problem: SlipwayError) -> None:
        """Show an error, with its lines, log and remedy."""


@dataclass(frozen=True)
class RunningService:
    """One service as it serves now.

    `image` is what its container was made from, `built_manifest` what that was built from, `served_manifest` what the
    container has, which is newer where sources were copied into it. A manifest is None when nobody can be sure of it.
    """

    container: ReplacedContainer
    image: str
    built_manifest: ContentManifest | None
    served_manifest: ContentManifest | None


def run_dev_session(
    workspace: Workspace,
    stack: Stack,
    services: Collection[str],
    console: DevConsole,
    *,
    syncing: bool,
    consent: Consent,
) -> None:
    """Work on a stack until the user has enough: bring it up, follow its logs, and serve each change.

    Args:
        workspace: the workspace.
        stack: where its services run.
        services: the names of those that are watched.
        console: told everything.
        syncing: copy sources into containers where a service's `[dev] sync` allows it.
        consent: answers the questions of a deploy.

    Raises:
        ConfigError: the stack is none to work on.
        StackBusy: somebody else works on it.
        SlipwayError: it could not be brought up; or at the end it could not be deployed, and runs what it ran before.
        KeyboardInterrupt: the user did not wait for the end.
    """
    refuse_unsuitable_stack(stack)
    refuse_lost_protection(workspace, stack)
    with dev_session_lock(workspace, stack.name), sigterm_as_interrupt():
        refuse_foreign_objects_early(current_environment(workspace), stack)
        loop = DevLoop(workspace, stack, frozenset(services), console, consent, syncing=syncing)
        loop.start()
        try:
            loop.run()
        except KeyboardInterrupt:
            loop.finish()
        except SlipwayError:
            loop.finish()
            raise


def _how_to_bring(stack: str) -> str:
    return f"`invoke ship --stack {stack}` and `{how_to_deploy(stack)}`"


def _how_to_go_on(stack: str) -> str:
    return f"`{how_to_deploy(stack)}` or `invoke dev --stack {stack}`"


def refuse_unsuitable_stack(stack: Stack) -> None:
    """Raise ConfigError when a stack takes only what was proven, or locked, before it is deployed."""
    if stack.protected:
        raise ConfigError(
            f"`{stack.name}` is protected: `invoke dev` does not work on it",
            remedy=f"Work on another stack (`invoke dev --stack dev`); {_how_to_bring(stack.name)} bring it here.",
        )
    if stack.target != "docker":
        raise ConfigError(
            f"`{stack.name}` runs on {stack.target}: `invoke dev` works with a Docker engine only",
            remedy=f"Work on a stack whose slipway:target is docker; {_how_to_bring(stack.name)} bring it here.",
        )
    if stack.mode == "external":
        raise ConfigError(
            f"`{stack.name}` takes its images from a lock (external), so a saved line never reaches it",
            remedy=f"`invoke mode inline --stack {stack.name}` or `hybrid`, or work on another stack.",
        )


class DevLoop:
    """One `invoke dev`: what it knows of the stack, and what it does about a change."""

    def __init__(
        self,
        workspace: Workspace,
        stack: Stack,
        chosen: frozenset[str],
        console: DevConsole,
        consent: Consent,
        *,
        syncing: bool,
    ) -> None:
        self._stack, self._chosen, self._console, self._consent, self._syncing = (
            stack,
            chosen,
            console,
            consent,
            syncing,
        )
        self._context = current_environment(workspace)
        self._workspace = workspace
        self._settings: DeployedSettings | None = None
        self._running: dict[str, RunningService] = {}
        self._deployed: dict[str, str] = {}
        self._deployed_config: dict[str, str] = {}
        self._matching_images: dict[str, bool] = {}
        self._log_follower = LogFollower(console.log)
        self._swapper = ContainerSwapper(workspace.deployed_name, stack.name)
        self.watcher = WorkspaceWatcher(workspace)

    def start(self) -> None:
        """Bring the stack up and begin to watch; what is saved meanwhile is not lost."""
        self.watcher.start()
        self._deploy_stack(single=True)
        methods = "copied where [dev] sync allows it" if self._syncing else "built"
        self._console.say(
            f"Watching {', '.join(sorted(self._watched_services()))}: what changes is {methods}. Enter deploys, Ctrl-C "
            "ends it."
        )

    def run(self) -> None:
        """Serve each change, until the user interrupts."""
        while True:
            change = self.watcher.next_change()
            try:
                self._handle_change(change)
            except SlipwayError as error:
                self._console.show_error(error)
                self._console.say("What ran before still serves. Watching.")

    def finish(self) -> None:
        """Leave what Pulumi's state says: deploy what was worked on or, where that cannot be, put back what was there.

        Raises:
            SlipwayError: it could not be deployed; what was there before serves again.
        """
        self.watcher.stop()
        self._log_follower.stop()
        name = self._stack.name
        self._swapper.wait_for_drains()
        made_here = any(container.dev for container in engine.list_containers(self._workspace.deployed_name, name))
        if not made_here and not self._has_replicas():
            self._console.say(f"Ended. {name} runs what was deployed.")
            return
        self._console.say(f"Deploying your present files, so that {name} runs a release. Ctrl-C again ends at once.")
        try:
            self._deploy_stack()
        except KeyboardInterrupt:
            self._console.say(f"Stopped. Your last changes keep serving until the next {_how_to_go_on(name)}.")
            raise
        except SlipwayError as error:
            self._console.show_error(error)
            self._swapper.restore_deployed(self._deployed, self._deployed_config)
            raise SlipwayError(
                f"your files cannot be deployed, so {name} is back to what was deployed before",
                remedy=f"Fix that; then {_how_to_go_on(name)}.",
            ) from error
        self._log_follower.stop()
        self._console.say(f"Ended. {name} runs your present files, as a release.")

    def _handle_change(self, change: Change) -> None:
        """Do what a change asks for."""
        workspace = self._load_workspace()
        if change.deploy_requested or DeployedSettings.of(workspace, self._stack.name) != self._settings:
            self._deploy_stack(single=True)
            self._console.say(f"{self._stack.name} is deployed. Watching.")
            return
        self._workspace = workspace
        names = sync.affected_services(workspace, change.paths) & self._watched_services()
        if jobs := sorted(name for name in names if workspace.service(name).settings.job):
            self._console.say(f"A job has changed ({', '.join(jobs)}): deploying.")
            self._deploy_stack(single=True)
            self._console.say(f"{self._stack.name} is deployed. Watching.")
            return
        inputs = self._build_inputs(names)
        manifests = content_manifests(inputs)
        methods = {name: self._update_method(name, inputs[name], manifests[name]) for name in names}
        requests, seconds = self._prepare_swaps(
            {name: method for name, method in methods.items() if method != "nothing"}, inputs, manifests
        )
        if not requests:
            return
        result = self._swapper.swap(requests, self._log_follower.follow)
        is_current = self.watcher.changes.empty()  # else nobody knows what of it a build or a copy has seen already
        for request in requests:
            if new_container := result.containers.get(request.service):
                served_manifest = manifests[request.service] if is_current else None
                built_manifest = (
                    self._running[request.service].built_manifest
                    if methods[request.service] == "sync"
                    else served_manifest
                )
                replaced = ReplacedContainer(new_container.id, new_container.name, True, request.image)
                self._running[request.service] = RunningService(
                    replaced, request.image, built_manifest, served_manifest
                )
                steps = {methods[request.service]: seconds[request.service], "start": result.starts[request.service]}
                durations = " · ".join(
                    f"{name} {duration:.1f}" for name, duration in {**steps, "switch": result.switch}.items()
                )
                self._console.say(f"{request.service:<12} {time.monotonic() - change.noticed_at:.1f} s  {durations}")
        for error in result.failed.values():
            self._console.show_error(error)
            self._console.say("The previous one still serves. Watching.")

    def _load_workspace(self) -> Workspace:
        """Return the workspace as its files are now; what cannot be read may be half written, so it is read again."""
        root = self._workspace.root
        with suppress(ConfigError):
            return workspaces.load_workspace(root)
        time.sleep(REREAD_SECONDS)
        return workspaces.load_workspace(root)

    def _has_replicas(self) -> bool:
        """Whether services have several containers, of which this session runs one."""
        return any(service.settings.scale.min > 1 for service in self._workspace.services)

    def _deploy_stack(self, *, single: bool = False) -> None:
        """Deploy the stack in the ordinary way, and take stock of what then runs; `single`: one container a service."""
        workspace = self._load_workspace()
        self._stack = replace(load_stack(workspace, self._stack.name), single=single)
        refuse_unsuitable_stack(self._stack)
        self._context = prepare_environment(workspace, self._console, building=True)
        settings = DeployedSettings.of(workspace, self._stack.name)
        self._workspace = workspace
        manifests = content_manifests(self._build_inputs({service.name for service in workspace.services}))
        deployed = deploy_stack(self._context, self._stack, self._console, self._consent)
        for row in deployed.rows:
            self._console.say(f"{row.service:<12} {row.health:<10} {row.url}".rstrip())
        self._record_running(manifests)
        self._settings = settings

    def _record_running(self, manifests: Mapping[str, ContentManifest]) -> None:
        containers = {
            container.service: container
            for container in engine.list_containers(self._workspace.deployed_name, self._stack.name)
        }
        new_services = {name for name, container in containers.items() if container.id != self._deployed.get(name)}
        self._deployed = {name: container.id for name, container in containers.items() if name != GATEWAY}
        with engine.docker_errors():
            self._deployed_config = LiveGateway.of(self._workspace.deployed_name, self._stack.name).live_config
        self._running = {
            name: RunningService(
                ReplacedContainer(container.id, container.name, False, container.image),
                container.image,
                manifests[name],
                manifests[name],
            )
            for name, container in containers.items()
            if name in manifests
        }
        for name in self._running.keys() & self._chosen_services():
            self._log_follower.follow(
                name, containers[name].id, tail=0 if name not in new_services or not self._settings else None
            )

    def _chosen_services(self) -> frozenset[str]:
        names = frozenset(service.name for service in self._workspace.services)
        return names & self._chosen if self._chosen else names

    def _watched_services(self) -> frozenset[str]:
        """Return the services whose sources decide what runs.

        A hybrid stack's locked ones run what is locked. One with volumes never runs twice, so a deploy replaces it.
        """
        is_hybrid = self._stack.mode == "hybrid"
        locked = lock.load(self._workspace.root, self._stack.name).services if is_hybrid else {}
        swapped = {service.name for service in self._workspace.built_services if not service.is_stateful}
        return self._chosen_services() & swapped - locked.keys()

    def _build_inputs(self, names: Collection[str]) -> dict[str, BuildInputs]:
        return build_inputs_by_service(self._workspace, map(self._workspace.service, sorted(names)))

    def _update_method(self, name: str, inputs: BuildInputs, manifest: ContentManifest) -> sync.SyncAction:
        """Return how a service is brought up to its present sources."""
        running = self._running.get(name)
        if running is None:
            return "nothing"
        folders = self._sync_folders(name)
        method = sync.choose_action(running.built_manifest, running.served_manifest, manifest, folders)
        if method == "sync" and not self._image_matches(running, inputs, folders, manifest):
            return "build"
        return method

    def _sync_folders(self, name: str) -> list[sync.SyncFolder]:
        entries = self._workspace.service(name).settings.dev.sync if self._syncing else ()
        return [sync.SyncFolder.parse(entry) for entry in entries]

    def _image_matches(
        self,
        running: RunningService,
        inputs: BuildInputs,
        folders: Sequence[sync.SyncFolder],
        manifest: ContentManifest,
    ) -> bool:
        """Whether an image has the folders just as its sources had them; it is looked at once."""
        if running.image not in self._matching_images and running.built_manifest is not None:
            self._matching_images[running.image] = images.has_folders_as_built(
                running.container.id, inputs, folders, running.built_manifest, manifest
            )
            if not self._matching_images[running.image]:
                self._console.say("The image does not hold the folders of [dev] sync as they are: building instead.")
        return self._matching_images.get(running.image, False)

    def _prepare_swaps(
        self,
        methods: Mapping[str, sync.SyncAction],
        inputs: Mapping[str, BuildInputs],
        manifests: Mapping[str, ContentManifest],
    ) -> tuple[list[SwapRequest], dict[str, float]]:
        """Build and pack; return what is to be swapped in, and the seconds that took for each service."""
        started_at = time.monotonic()
        packed = {
            name: images.pack_folders(self._running[name].image, inputs[name], self._sync_folders(name))
            for name, method in methods.items()
            if method == "sync"
        }
        seconds = dict.fromkeys(packed, time.monotonic() - started_at)
        started_at = time.monotonic()
        built_images = images.build_images(
            self._context, {name: inputs[name] for name, method in methods.items() if method == "build"}
        )
        seconds |= dict.fromkeys(built_images, time.monotonic() - started_at)
        requests = []
        for name in methods:
            running = self._running[name]
            image = built_images.get(name, running.image)
            if name in built_images and image == running.image and running.built_manifest == running.served_manifest:
                self._running[name] = replace(running, built_manifest=manifests[name], served_manifest=manifests[name])
                self._console.say(f"{name:<12} is the same image as before")
            else:
                requests.append(SwapRequest(name, image, running.container, packed.get(name, {})))
        return requests, seconds


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Take SIGTERM as Ctrl-C for the time of a `with`, and Ctrl-C also where the shell had this ignore it."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    previous_handlers = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
