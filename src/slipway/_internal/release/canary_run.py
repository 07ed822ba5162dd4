"""Carries out what was planned of a canary: Pulumi changes the canary and the gateway's weights, and nothing else.

The order is such that a run that is killed can be repeated, or ended with `--abort`: the state names the canary before
its container starts; the gateway gets its weights once that is healthy; a promotion replaces the service while its
canary still serves, and ends the canary afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import partial

from slipway._internal.build.build_command import build_image
from slipway._internal.context.commits import warn_of_unknown_commit
from slipway._internal.context.logs import logs_folder
from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.insight.run_recorder import current_recorder
from slipway._internal.model import lock
from slipway._internal.model.canary import Canary, CanaryChange, CanaryEnd, canary_image_name
from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.lock import LockEntry
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace
from slipway._internal.release import deploy
from slipway._internal.release.canaries import (
    CanaryPlan,
    digest_of,
    read_canaries,
    refuse_same_image,
    with_share,
    without,
)
from slipway._internal.release.deploy import Consent, DeployResult
from slipway._internal.release.deploy_locks import clear_stale_lock
from slipway._internal.release.engine_events import EngineEventReporter
from slipway._internal.release.generated_secrets import generate_secrets
from slipway._internal.release.inputs import read_inputs
from slipway._internal.release.releases import live_release
from slipway._internal.release.rollback import Rollback, RollbackStep, resolve_entries
from slipway._internal.release.session_lock import refuse_during_session
from slipway._internal.run.pulumi import Outcome
from slipway._internal.targets import target_of


def execute_canary(
    context: RunContext, plan: CanaryPlan, reporter: Reporter, consent: Consent, *, today: date
) -> DeployResult:
    """Carry out a plan, and return what runs then.

    Args:
        context: the run's context.
        plan: what is to become of the canary.
        reporter: receives each step.
        consent: asks before a dead deploy's lock is removed.
        today: for rules that end at a date.

    Raises:
        ConfigError: what was built is what runs already.
        EvidenceError: the stack is protected, and evidence of the canary's image is missing or invalid.
        GateRefused: the stack is protected, and today's policy refuses the image.
        StackBusy: another deploy or `invoke dev` is at work on the stack.
        SlipwayError: the canary did not become healthy, and is gone; all requests go where they went before.
    """
    started_at = time.monotonic()
    refuse_during_session(context.workspace, plan.stack.name)
    warn_of_unknown_commit(context.workspace, reporter)
    run = _CanaryRun(context, plan, reporter, consent)
    name = plan.service.name
    if not plan.percent and not plan.promotes:
        outcome = run.change(without(plan.found.canaries, name), end="aborted")
        return run.result(outcome, started_at)
    image = plan.image or build_image(context, plan.service, reporter)
    refuse_same_image(plan, image)
    entry = _proven_entry(context, plan, image, reporter, today=today)
    if plan.promotes:
        _lock_promoted(context, plan, entry, reporter)
        run.change(plan.found.canaries, change="promotion", promoted=entry)
        outcome = run.change(without(plan.found.canaries, name), end="promoted")
        return run.result(outcome, started_at)
    canary = Canary(name, image, plan.percent)
    try:
        outcome = run.change(with_share(plan.found.canaries, canary))
    except SlipwayError as error:
        if plan.before is None:
            run.take_back(error)
        raise
    return run.result(outcome, started_at)


class _CanaryRun:
    """Runs Pulumi for one verb."""

    def __init__(self, context: RunContext, plan: CanaryPlan, reporter: Reporter, consent: Consent) -> None:
        self._context, self._plan, self._reporter, self._consent = context, plan, reporter, consent
        self._workspace = _workspace_of(context.workspace, plan)
        self._target = target_of(context.workspace, plan.stack)
        live = live_release(plan.found.releases)
        self._live = (
            {}
            if live is None
            else {
                service.name: LockEntry(live.digests[service.name], live.contents.get(service.name, ""))
                for service in self._workspace.services
            }
        )
        self._beside = {} if live is None else live.beside

    def change(
        self,
        canaries: Sequence[Canary],
        *,
        change: CanaryChange = "weights",
        end: CanaryEnd | None = None,
        promoted: LockEntry | None = None,
    ) -> Outcome:
        """Make the canaries these, and in a promotion the service's image another."""
        name = self._plan.service.name
        stack = replace(self._plan.stack, canaries=tuple(canaries), canary_change=change, canary_end=end)
        entries = {**self._live, **({name: promoted} if promoted else {})}
        inputs = DeployInputs(self._workspace, stack, entries, self._beside)
        overrides = {service: entry.ref for service, entry in entries.items()}
        overrides |= {canary_image_name(canary.service): canary.image for canary in canaries}
        pulumi_stack = deploy.open_stack(self._context, stack, inputs, overrides)
        clear_stale_lock(pulumi_stack, self._consent, self._reporter)
        if repair_note := pulumi_stack.repair_state():
            self._reporter.say(repair_note)
        current_recorder().has_work = True
        if not end:
            known = partial(deploy.services_with_data, pulumi_stack, self._target)
            generate_secrets(self._context, stack, self._reporter, known)
        targets = changed_urns(stack, name)
        with deploy.deploy_marker(self._context.workspace, stack) as interrupted:
            if interrupted:
                self._target.refuse_foreign_objects(lambda: deploy.stack_resource_ids(pulumi_stack) or ())
                self._reporter.say(
                    f"The last deploy of {stack.name} was interrupted. Checking what actually runs first."
                )
                deploy.reconcile_state(pulumi_stack, self._target)
            up = partial(pulumi_stack.up, on_advice=self._reporter.say, targets=targets)
            return deploy.run_with_resource_errors(up, self._event_reporter())

    def take_back(self, error: SlipwayError) -> None:
        """After a canary could not begin, make all as it was; if that fails, say what is left."""
        name, stack = self._plan.service.name, self._plan.stack
        if not read_canaries(self._context, stack).of(name):
            return
        try:
            self.change(without(self._plan.found.canaries, name), end="aborted")
        except SlipwayError as problem:
            left = f"Its beginning could not be taken back: {problem.message}."
            error.detail = "\n".join(filter(None, (error.detail, left)))
            error.remedy = f"`invoke canary {name} --abort --stack {stack.name}` ends it. {error.remedy}"

    def result(self, outcome: Outcome, started_at: float) -> DeployResult:
        """Return what runs now."""
        stack = self._plan.stack
        current_recorder().add_images(outcome.outputs.get("images", {}))
        rows = tuple(deploy.check_services(self._workspace, self._target, outcome))
        seconds = time.monotonic() - started_at
        return DeployResult(stack.name, stack.mode, rows, outcome.operations, outcome.has_changes, seconds)

    def _event_reporter(self) -> EngineEventReporter:
        from slipway._internal.provider.server import resource_error

        return EngineEventReporter(self._reporter, logs_folder(self._context.workspace), find_error=resource_error)


def changed_urns(stack: Stack, service: str) -> list[str]:
    """Return the URNs, with `*` and `**` for any text, of all that a change of a service's canary may change."""
    name = stack.name
    urns = [f"**slipway:index:Release::{name}", f"**slipway:index:Live::{name}", f"**:ReleaseCommand::{service}"]
    promoted = stack.canary_change == "promotion"
    if stack.target == "docker":
        container = "**slipway:docker:Container::"
        urns += [f"**slipway:docker:Gateway::{name}", f"{container}*.canary"]
        return [*urns, f"{container}{service}", f"{container}{service}.*"] if promoted else urns
    urns += ["**::*-canary", "**NetworkPolicy::*", f"**HTTPRoute::{service}", f"**HTTPRoute::{service}.*"]
    return [*urns, f"**::{service}", f"**::{service}.*"] if promoted else urns


def _workspace_of(workspace: Workspace, plan: CanaryPlan) -> Workspace:
    """Return the workspace with the services that run: one that is new in the files begins with a deploy."""
    running = plan.found.live_images
    return replace(workspace, services=tuple(each for each in workspace.services if each.name in running))


def _proven_entry(context: RunContext, plan: CanaryPlan, image: str, reporter: Reporter, *, today: date) -> LockEntry:
    """Return what a lock would say of a canary's image, after the same proof that a deploy or a rollback asks for.

    Raises:
        EvidenceError: evidence is missing or invalid, or the registry does not have the image.
        GateRefused: today's policy refuses the image.
    """
    stack, name = plan.stack, plan.service.name
    stack_lock = lock.load(context.workspace.root, stack.name)
    entry = stack_lock.services.get(name)
    if stack.mode != "inline" and entry and digest_of(entry.ref) == digest_of(image):
        return read_inputs(context, stack, reporter, stack_lock=stack_lock).lock_entries[name]
    live = next(each for each in plan.found.releases if each.result == "live")
    release = plan.release or replace(live, contents={})  # which are those of other images
    step = RollbackStep(name, plan.found.live_images.get(name, ""), image, "")
    return resolve_entries(context, Rollback(stack, release, (step,), ()), reporter, today=today)[name]


def _lock_promoted(context: RunContext, plan: CanaryPlan, entry: LockEntry, reporter: Reporter) -> None:
    """Have the stack's lock name the canary's image, where the service's image comes from the lock."""
    root, name = context.workspace.root, plan.service.name
    stack_lock = lock.load(root, plan.stack.name)
    locked = stack_lock.services.get(name)
    if plan.stack.mode == "inline" or locked is None or digest_of(locked.ref) == digest_of(entry.ref):
        return
    lock.save(root, lock.with_entries(stack_lock, {name: entry}))
    reporter.say(f"{lock.path_of(root, plan.stack.name).name} names the canary's image of {name} now: commit it.")
