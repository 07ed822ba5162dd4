"""Deploys a stack: check the inputs, clean up after an interrupted run, run Pulumi, probe every URL."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from slipway._internal.context.commits import warn_of_unknown_commit
from slipway._internal.context.logs import logs_folder
from slipway._internal.context.protection import is_protection_lifted, refuse_lost_protection
from slipway._internal.context.reporter import NullReporter, Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.insight.run_recorder import current_recorder, record_run
from slipway._internal.model import stack as stacks
from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.model.errors import ConfigError, EvidenceError, SlipwayError, StackBusy
from slipway._internal.model.files import write_atomically
from slipway._internal.model.request_limits import DEFAULT_LIMITS, effective_limits
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace
from slipway._internal.release.canary_guard import refuse_during_canary
from slipway._internal.release.certificates import issue_at_deploy
from slipway._internal.release.deploy_locks import clear_stale_lock
from slipway._internal.release.engine_events import RELEASE_COMMAND_RUNS, EngineEventReporter
from slipway._internal.release.generated_secrets import generate_secrets
from slipway._internal.release.inputs import read_inputs
from slipway._internal.release.plugin_watchdog import PluginWatchdog
from slipway._internal.release.resource_failures import build_log_fetcher
from slipway._internal.release.session_lock import refuse_during_session
from slipway._internal.run import ports
from slipway._internal.run.cluster import refuse_missing_kubeconfig
from slipway._internal.run.credentials import login_config_of
from slipway._internal.run.owner import read_state_ids
from slipway._internal.run.pulumi import BUILD_TYPES, Outcome, PulumiStack, StateNotSaved
from slipway._internal.run.state import deploy_marker_file, local_state_folder
from slipway._internal.run.team_code import find_function, load_infra, team_errors
from slipway._internal.targets import target_of
from slipway._internal.targets.target import DeploymentTarget

if TYPE_CHECKING:
    from pulumi_policy import Policy

Consent = Callable[[str], bool]
HEALTHY_STATES = ("healthy", "running", "scheduled", "not observed")
"""Health values that count as healthy for a service without a URL."""


@dataclass(frozen=True)
class DeployedService:
    """One service as it runs: image digest, URL (where it has a route) and health."""

    service: str
    digest: str
    url: str
    health: str


@dataclass(frozen=True)
class DeployResult:
    """What runs after a deploy, and whether the deploy changed anything."""

    stack: str
    mode: str
    rows: tuple[DeployedService, ...]
    operations: Mapping[str, int]
    changed: bool
    seconds: float

    @property
    def healthy(self) -> bool:
        """Whether every service is healthy or its URL answers; any status below 500 counts as an answer."""
        return all(row.health in HEALTHY_STATES or "200" <= row.health[:3] < "500" for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "healthy": self.healthy}


def deploy_stack(
    context: RunContext, stack: Stack, reporter: Reporter, consent: Consent, inputs: DeployInputs | None = None
) -> DeployResult:
    """Deploy the workspace to the stack, and return what runs afterwards.

    Args:
        context: the run's context.
        stack: the stack.
        reporter: receives each step.
        consent: asks before a dead deploy's lock is removed.
        inputs: the deploy's inputs, if they were already read and verified.

    Raises:
        ConfigError: the stack lost its protection without confirmation.
        StackBusy: another deploy is running, a canary is under way, or nobody consented to removing an interrupted
            deploy's lock.
        EvidenceError: the mode needs a digest that is not locked.
        SlipwayError: a build, a container's start or Pulumi failed; the old containers still run.
    """
    started_at = time.monotonic()
    workspace = context.workspace
    refuse_during_session(workspace, stack.name)
    refuse_during_canary(workspace, stack.name)
    refuse_lost_protection(workspace, stack)
    warn_of_unknown_commit(workspace, reporter)
    inputs = inputs or read_inputs(context, stack, reporter)
    target = target_of(workspace, stack)
    with record_run(workspace, "deploy", stack) as recorder:
        with recorder.phase("Pulumi starts"):
            outcome = update_stack(context, inputs, target, reporter, consent)
        recorder.add_images(outcome.outputs.get("images", {}))
        if stack.acme:
            with recorder.phase("have a certificate issued"):
                issue_at_deploy(workspace, stack, reporter)
        with recorder.phase("ask the URLs"):
            rows = tuple(check_services(workspace, target, outcome))
        target.record_starts(recorder)
    return DeployResult(
        stack.name, stack.mode, rows, outcome.operations, outcome.has_changes, time.monotonic() - started_at
    )


def update_stack(
    context: RunContext, inputs: DeployInputs, target: DeploymentTarget, reporter: Reporter, consent: Consent
) -> Outcome:
    """Clean up after an interrupted run, then let Pulumi deploy the workspace to the stack."""
    stack = inputs.stack
    if limits_warning := unsupported_limits(context.workspace, stack):
        reporter.say(limits_warning)
    pulumi_stack = open_stack(context, stack, inputs)
    clear_stale_lock(pulumi_stack, consent, reporter)
    if repair_note := pulumi_stack.repair_state():
        reporter.say(repair_note)
    current_recorder().has_work = True
    generate_secrets(context, stack, reporter, lambda: services_with_data(pulumi_stack, target))
    with deploy_marker(context.workspace, stack) as interrupted:
        if interrupted:
            target.refuse_foreign_objects(lambda: stack_resource_ids(pulumi_stack) or ())
            reporter.say(f"The last deploy of {stack.name} was interrupted. Checking what actually runs first.")
            reconcile_state(pulumi_stack, target)
        elif drifted := target.drifted_services(lambda: live_images(pulumi_stack)):
            reporter.say(f"Changed since the last deploy: {', '.join(drifted)}. Checking what actually runs first.")
            pulumi_stack.refresh()
        is_stateful = any(service.is_stateful for service in context.workspace.services)
        # Only a target that can adopt anything is asked for data.
        if (interrupted or is_stateful) and target.may_adopt_existing() and (interrupted or target.data_volumes()):
            inputs = replace(inputs, stack=replace(stack, adopts_existing=True))
            pulumi_stack = open_stack(context, inputs.stack, inputs)
        outcome = run_update(context, inputs, pulumi_stack, target, reporter)
        target.remove_superseded(reporter, lambda: stack_resource_ids(pulumi_stack))
        return outcome


def services_with_data(pulumi_stack: PulumiStack, target: DeploymentTarget) -> dict[str, str]:
    """Return the services that are in a stack's state, or have data where it runs: service → its volume.

    The volume is empty for those in the state: others' data is of an earlier workspace in this folder.
    """
    deployed = {str(resource["urn"]).rpartition("::")[2]: "" for resource in pulumi_stack.list_resources()}
    return {volume.service: volume.name for volume in target.data_volumes()} | deployed


def unsupported_limits(workspace: Workspace, stack: Stack) -> str:
    """Return a warning if files set request limits that the stack's target does not support; otherwise empty."""
    service_names = [
        service.name for service in workspace.services if effective_limits(service.settings.gateway) != DEFAULT_LIMITS
    ]
    names = [
        *service_names,
        *(["workspace.toml"] if effective_limits(workspace.settings.gateway) != DEFAULT_LIMITS else []),
    ]
    if stack.target != "kubernetes" or stack.gateway_policies or not names:
        return ""
    return (
        f"Kubernetes ignores `body` and `timeouts` under [gateway] in {', '.join(names)}. "
        "Gateways and Ingresses have no common setting for them; set them in your Gateway's or Ingress's own "
        "configuration."
    )


def stack_resource_ids(pulumi_stack: PulumiStack) -> Collection[str] | None:
    """Return the ids of all resources in a stack's state; None if the state cannot be read."""
    project = pulumi_stack.workspace.project
    if local_state_folder(project):
        return read_state_ids(project, pulumi_stack.stack.name)
    return {str(resource["id"]) for resource in pulumi_stack.list_resources() if resource.get("id")}


def refuse_foreign_objects(context: RunContext, stack: Stack) -> None:
    """Raise ConfigError if another folder deployed what runs as this stack, before anything is created or removed."""
    pulumi_stack = open_stack(context, stack)
    target_of(context.workspace, stack).refuse_foreign_objects(lambda: stack_resource_ids(pulumi_stack) or ())


def refuse_foreign_objects_early(context: RunContext, stack: Stack) -> None:
    """Run that check before a first deploy, which may build for minutes; later deploys run it while Pulumi starts.

    A stack with a canary under way, and one on Kubernetes without a kubeconfig, are refused here, too, before anything
    is built for them.
    """
    if stack.target == "kubernetes":
        refuse_missing_kubeconfig(stack)
    refuse_during_canary(context.workspace, stack.name)
    project = context.workspace.project
    has_state = local_state_folder(project) and read_state_ids(project, stack.name)
    if not has_state and is_target_reachable(context.workspace, stack):
        refuse_foreign_objects(context, stack)


def is_target_reachable(workspace: Workspace, stack: Stack) -> bool:
    """Return whether the stack's target answers; whoever needs it later starts it, or reports why it does not."""
    try:
        target_of(workspace, stack).running_images()
    except SlipwayError:
        return False
    return True


def run_update(
    context: RunContext,
    inputs: DeployInputs,
    pulumi_stack: PulumiStack,
    target: DeploymentTarget,
    reporter: Reporter,
) -> Outcome:
    """Run Pulumi; if a service does not start, the target explains why and may roll it back."""
    from slipway._internal.provider.release import check_before_live
    from slipway._internal.provider.server import resource_error
    from slipway._internal.rollout.release_progress import watch_release_commands

    def report_release_command(service: str, seconds: float) -> None:
        reporter.step(service, RELEASE_COMMAND_RUNS, f"{seconds:.0f} s")

    def new_event_reporter() -> EngineEventReporter:
        return EngineEventReporter(reporter, logs_folder(context.workspace), build_log_fetcher(context), resource_error)

    unfinished: list[str] = []

    def refuse_unfinished() -> None:
        unfinished[:] = target.unfinished_rollouts()
        if unfinished:
            raise SlipwayError(f"not rolled out in {inputs.stack.name}: {', '.join(unfinished)}")

    def update(pulumi_stack: PulumiStack, event_reporter: EngineEventReporter) -> Outcome:
        with (
            target.report_progress(reporter, event_reporter.rolling_out),
            check_before_live(refuse_unfinished),
            watch_release_commands(report_release_command),
        ):
            up = partial(pulumi_stack.up, on_advice=reporter.say)
            outcome = run_with_resource_errors(up, event_reporter)
            if outcome.has_changes:  # settings alone may have changed, which creates no release
                refuse_unfinished()
            return outcome

    def redeploy(images: Mapping[str, str]) -> None:
        reporter.say(f"Rolling back to the images that ran before: {', '.join(images)}.")
        rolled_back = replace(inputs, stack=replace(inputs.stack, rolls_back=True))
        if note := skipped_release_commands(context.workspace):
            reporter.say(note)
        update(open_stack(context, rolled_back.stack, rolled_back, images), new_event_reporter())

    event_reporter = new_event_reporter()
    watchdog = PluginWatchdog(context, event_reporter)
    try:
        with watchdog:
            return update(pulumi_stack, event_reporter)
    except (ConfigError, EvidenceError, StackBusy):
        raise
    except SlipwayError as error:
        if watchdog.stuck_service:
            build_without_plugin(context, inputs.stack, watchdog.stuck_service, reporter)
            return run_update(context, inputs, pulumi_stack, target, reporter)
        failed_services = [*event_reporter.failures.failed_rollouts(), *unfinished]
        explanation = target.explain_failure(error, failed_services, lambda: live_images(pulumi_stack), redeploy)
        if explanation is error:
            raise
        raise explanation from error


def skipped_release_commands(workspace: Workspace) -> str:
    """Return the line that says whose release commands a rollback leaves out; empty where there are none."""
    names = [service.name for service in workspace.services if service.settings.release]
    if not names:
        return ""
    return f"A rollback runs no release command ({', '.join(names)}): data stay as the newer release has made them."


def build_without_plugin(context: RunContext, stack: Stack, service: str, reporter: Reporter) -> None:
    """Build the missing images as `invoke build` does, after Pulumi's plugin hung at a service and was stopped."""
    from slipway._internal.build.build_command import build_ahead

    reporter.say(
        f"{service}: Pulumi's docker-build plugin hangs. It does so when a build step prints a line of 64 KiB or more. "
        "Building without the plugin, then resuming the deploy."
    )
    build_ahead(context, stack, reporter)


def live_images(pulumi_stack: PulumiStack) -> Mapping[str, str]:
    """Return the live release's images by service; empty if nothing was ever live."""
    from slipway._internal.release.releases import live_release, parse_releases

    release = live_release(parse_releases(pulumi_stack.stack.name, pulumi_stack.list_resources()))
    return release.digests if release else {}


def run_with_resource_errors(
    operation: Callable[[EngineEventReporter], Outcome], event_reporter: EngineEventReporter
) -> Outcome:
    """Run Pulumi; replace its generic error with the failed resource's."""
    try:
        return operation(event_reporter)
    except SlipwayError as error:
        if type(error) is SlipwayError and (resource_error := event_reporter.failures.combined_error()):
            raise resource_error from error
        raise


def preview_stack(context: RunContext, stack: Stack) -> tuple[list[str], Outcome]:
    """Return Pulumi's diff and the policies' advice as lines, and the outcome; nothing changes."""
    lines: list[str] = []
    advice: list[str] = []

    refuse_lost_protection(context.workspace, stack)
    refuse_during_canary(context.workspace, stack.name)
    inputs = read_inputs(context, stack, NullReporter(), must_verify=False)
    outcome = open_stack(context, stack, inputs).preview(advice.append, on_output=lines.append)
    return [*diff_lines(lines), *advice], outcome


NOISE_PREFIXES = ("Previewing update", "pulumi:pulumi:Stack: (same)", "warning: using pulumi-", "[urn=", "[provider=")
"""Prefixes of lines in Pulumi's preview that carry no information."""
FORGOTTEN_PREFIXES = tuple(f"- {kind}: (delete" for kind in BUILD_TYPES)
"""Prefixes of blocks about image resources that are dropped from the state; the built image stays."""


def diff_lines(lines: list[str]) -> list[str]:
    """Return the lines of Pulumi's preview that show what would change."""
    end = next((number for number, line in enumerate(lines) if line.startswith("Resources:")), len(lines))
    diff, depth = [], None
    for line in filter(str.strip, lines[:end]):
        text = line.lstrip()
        indent = len(line) - len(text)
        if depth is not None and indent > depth:
            continue
        depth = indent if text.startswith(FORGOTTEN_PREFIXES) else None
        if depth is None and not text.startswith(NOISE_PREFIXES):
            diff.append(line)
    return diff


def ask_when_protected(stack: Stack, question: str, consent: Consent) -> None:
    """Ask for consent before changing a protected stack.

    Raises:
        ConfigError: nobody consented.
    """
    if stack.protected and not consent(question):
        raise ConfigError(
            f"`{stack.name}` is protected, and nobody confirmed the action",
            remedy="Answer the question in a terminal, or add --yes.",
        )


def check_services(workspace: Workspace, target: DeploymentTarget, outcome: Outcome) -> Iterator[DeployedService]:
    """Yield each service as it runs now: what its URL answers if it has one, otherwise its health."""
    urls, images = outcome.outputs.get("urls", {}), outcome.outputs.get("images", {})
    health_by_service = target.service_health(
        [service.name for service in workspace.services if not urls.get(service.name)]
    )
    for service in workspace.services:
        url = urls.get(service.name, "")
        digest = str(images.get(service.name, "")).partition("@")[2]
        yield DeployedService(service.name, digest, url, probe_url(url) if url else health_by_service[service.name])


def probe_url(url: str, *, seconds: float = 5.0) -> str:
    """Return what a URL answers: `200 OK`, another status, or why it did not answer within `seconds`."""
    import requests

    end = time.monotonic() + seconds
    session = requests.Session()
    session.trust_env = not ports.is_own_address(urlsplit(url).hostname or "")  # no proxy leads back to this machine
    while True:
        try:
            response = session.get(url, timeout=5)
        except requests.RequestException as error:
            status = f"no answer ({type(error).__name__})"
        else:
            status = f"{response.status_code} {response.reason}"
            if response.status_code < 500:
                return status
        if time.monotonic() > end:
            return status
        time.sleep(0.1)


def open_stack(
    context: RunContext,
    stack: Stack,
    inputs: DeployInputs | None = None,
    image_overrides: Mapping[str, str] | None = None,
) -> PulumiStack:
    """Open a Pulumi stack with the program and policies of infra/ and the provider, served from this process.

    Args:
        context: the run's context.
        stack: the stack.
        inputs: the program's inputs; None if nothing is deployed.
        image_overrides: images (service → image) that replace those the stack's mode selects.
    """
    from slipway._internal.provider.server import serve_in_thread

    overrides = image_overrides or {}
    port = serve_in_thread(
        login_config_of(context.workspace, "pull"), lifted_stack=stack.name if is_protection_lifted(stack) else ""
    )

    def program() -> None:
        target_of(context.workspace, stack).refuse_foreign_objects(lambda: stack_resource_ids(pulumi_stack) or ())
        if inputs:
            run_infra_program(inputs, overrides)  # infra/ is loaded while Pulumi itself starts

    pulumi_stack = PulumiStack(
        context.workspace,
        stack,
        program,
        policies=partial(load_policies, context.workspace, inputs, overrides.values()),
        cli=context.bin / "pulumi",
        log=logs_folder(context.workspace) / f"{stack.name}.pulumi.log",
        environment={**context.environment, "PULUMI_DEBUG_PROVIDERS": f"slipway:{port}"},
    )
    return pulumi_stack


def load_policies(
    workspace: Workspace, inputs: DeployInputs | None, override_images: Iterable[str]
) -> Sequence[Policy]:
    """Import and return the policies that every preview and deploy must pass.

    Args:
        workspace: the workspace.
        inputs: the deploy's inputs, so that the rules judge exactly what is deployed.
        override_images: images that ran before, and are allowed again.
    """
    from slipway._internal.policy.rule import PolicyContext

    file = workspace.root / "infra" / "policy" / "__main__.py"
    make_policies = find_function(load_infra(workspace.root, "policy.__main__"), "make_policies", file)
    policy_context = PolicyContext(workspace.root, inputs, frozenset(override_images))
    with team_errors(workspace.root):
        policies: Sequence[Policy] = make_policies(policy_context)
        return policies


def run_infra_program(inputs: DeployInputs, image_overrides: Mapping[str, str]) -> None:
    """Run the workspace's program in infra/.

    Raises:
        ConfigError: the program cannot be run; the message names file and line.
    """
    root = inputs.workspace.root
    program = find_function(load_infra(root, "__main__"), "program", root / "infra" / "__main__.py")
    with team_errors(root):
        program(inputs, image_overrides)


def reconcile_state(pulumi_stack: PulumiStack, target: DeploymentTarget) -> None:
    """Bring Pulumi's state back in line with what actually runs, after an interrupted deploy."""
    if pulumi_stack.exists():
        pulumi_stack.refresh()
    target.remove_orphans({str(resource.get("id")) for resource in pulumi_stack.list_resources()})


@contextmanager
def deploy_marker(workspace: Workspace, stack: Stack) -> Iterator[bool]:
    """Keep a marker file while a deploy runs; yield whether an interrupted deploy left one behind."""
    mark = deploy_marker_file(workspace.root, stack.name)
    interrupted = mark.is_file()
    write_atomically(mark, f"{os.getpid()}\n")
    try:
        yield interrupted
    except StateNotSaved:
        raise
    except (SlipwayError, KeyboardInterrupt):
        if not interrupted:
            mark.unlink(missing_ok=True)
        raise
    mark.unlink(missing_ok=True)


def remove_stack(
    context: RunContext, stack: Stack, reporter: Reporter, consent: Consent, *, also_abandoned: bool = False
) -> Outcome:
    """Remove everything that the stack runs; its images, its services' data and its state's history stay.

    Args:
        context: the run's context.
        stack: the stack.
        reporter: receives each step.
        consent: answers questions.
        also_abandoned: first remove what a deleted folder left of the stack.
    """
    from slipway._internal.provider.server import resource_error

    refuse_during_session(context.workspace, stack.name)
    target = target_of(context.workspace, stack)
    pulumi_stack = open_stack(context, stack)
    if also_abandoned:
        target.remove_abandoned(reporter, consent)
    target.refuse_foreign_objects(lambda: stack_resource_ids(pulumi_stack) or ())
    clear_stale_lock(pulumi_stack, consent, reporter)
    target.remove_superseded(reporter, lambda: stack_resource_ids(pulumi_stack))
    outcome = (
        run_with_resource_errors(
            pulumi_stack.destroy,
            EngineEventReporter(reporter, logs_folder(context.workspace), find_error=resource_error),
        )
        if pulumi_stack.exists()
        else Outcome({}, {})
    )
    target.wait_deleted(reporter)
    deploy_marker_file(context.workspace.root, stack.name).unlink(missing_ok=True)
    return outcome


def load_stack(workspace: Workspace, name: str) -> Stack:
    """Return a stack with the mode in force for this run."""
    return stacks.load(workspace.root, name, os.environ)
