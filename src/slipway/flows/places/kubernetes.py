"""A stack on a Kubernetes cluster: a Deployment for each service and its pods, or a CronJob for one that is a job."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar

from slipway.commands import kubectl
from slipway.flows.places import Again, pods, tails, why
from slipway.flows.places.pods import Trouble
from slipway.flows.recording import Recorder
from slipway.flows.report import Report
from slipway.flows.status import GATEWAY, Status, ago, short
from slipway.model.errors import ConfigError, SlipwayError
from slipway.model.stack import Stack, how_to_deploy
from slipway.model.workspace import Service, Workspace
from slipway.run.cluster import Cluster, Forbidden
from slipway.run.objects import CronJob, Deployment, Event, Job, Namespace, Pod, PodSpec
from slipway.run.owner import ID, Thing, owner_of, refuse_others

KINDS = ("deployments.apps", "cronjobs.batch", "jobs.batch", "pods")
GONE_SECONDS = 90.0
"""How long a namespace may take to go, once Pulumi has removed what was in it."""
PATIENCE_SECONDS = 30.0
"""How long a service may be on its way to be healthy, once Pulumi is done: a rollout by hand ends."""
WATCH_SECONDS = 3.0
"""How often it is looked how far rollouts are."""
LINE = 160
"""Letters of what is wrong with a pod that stand in a line of progress; the error has them all."""
UPSERT = "PULUMI_K8S_UPSERT_EXISTING_OBJECTS"
"""The variable by which Pulumi's provider is told to take over objects that exist."""
UNKNOWN = "whether it is what was deployed cannot be told: the stack's state cannot be read here"


@dataclass(frozen=True)
class PodsStatus(Status):
    """A service as the cluster has it: how many of its pods are ready, their restarts, and why one does not serve."""

    columns: ClassVar[tuple[str, ...]] = ("service", "state", "ready", "restarts", "image", "since", "drift")

    ready: str = "-"
    restarts: int = 0
    reason: str = ""
    message: str = ""

    @property
    def coloured(self) -> str:
        plain = super().coloured
        return f"{plain} ({self.reason})" if self.reason else plain

    @property
    def cells(self) -> tuple[str, ...]:
        drift = self.drift or "none"
        return self.service, self.coloured, self.ready, str(self.restarts), self.image, self.since, drift


@dataclass(frozen=True)
class Found:
    """What there is of a stack, by service."""

    deployments: dict[str, Deployment] = field(default_factory=dict)
    jobs: dict[str, CronJob] = field(default_factory=dict)
    runs: dict[str, list[Job]] = field(default_factory=dict)
    pods: dict[str, list[Pod]] = field(default_factory=dict)

    def trouble(self, service: str) -> Trouble | None:
        return pods.trouble_with(self.deployments[service], self.pods.get(service, []))


@dataclass(frozen=True)
class Kubernetes:
    """One stack on a cluster."""

    workspace: Workspace
    stack: Stack
    cluster: Cluster

    def found(self, service: str | None = None) -> Found:
        """Ask the cluster, once, for all that there is of the stack or of one service."""
        labels = kubectl.selector(self.workspace.deployed_name, self.stack.name, service)
        found = Found()
        for each in self.cluster.objects(KINDS, labels):
            name = "" if isinstance(each, Namespace | Event) else each.metadata.labels.get(kubectl.NAME, "")
            if isinstance(each, Deployment):
                found.deployments[name] = each
            elif isinstance(each, CronJob):
                found.jobs[name] = each
            elif isinstance(each, Job):
                found.runs.setdefault(name, []).append(each)
            elif isinstance(each, Pod):
                found.pods.setdefault(name, []).append(each)
        return found

    def refuse_others(self, known: Callable[[], Collection[str]]) -> None:  # noqa: ARG002
        # Pulumi knows a namespace by its name alone, which says nothing about who made it.
        with suppress(Forbidden):
            namespace = self.cluster.find("namespace", self.cluster.where.namespace, Namespace)
            about = namespace.metadata.annotations if namespace else {}
            if ID in about:
                thing = Thing("namespace", self.cluster.where.namespace, "", about)
                refuse_others(owner_of(self.workspace.root), self.stack.name, [thing], tuple)

    def status(self) -> list[PodsStatus]:
        found = self.found()
        if not found.deployments and not found.jobs:
            return []
        live = self._live()
        rows = [self._line(service, found, live) for service in self.workspace.services]
        known = {service.name for service in self.workspace.services}
        for name in sorted((found.deployments.keys() | found.jobs.keys()) - known):
            row = _deployed(name, found) if name in found.deployments else _scheduled(name, found)
            rows.append(_with_drift(row, "no such service any more"))
        return rows

    def _line(self, service: Service, found: Found, live: Mapping[str, str] | None) -> PodsStatus:
        name = service.name
        if name in found.deployments:
            row, drift = _deployed(name, found), _drift_of(service, found.deployments[name], live, self.stack.name)
        elif name in found.jobs:
            row, drift = _scheduled(name, found), _drift_of_job(name, found.jobs[name], live, self.stack.name)
        else:
            return PodsStatus(name, "missing", "-", "-", f"not there: `{how_to_deploy(self.stack.name)}` restores it")
        return _with_drift(row, UNKNOWN if live is None and not drift else drift)

    def _live(self) -> Mapping[str, str] | None:
        """Return the images of the release that is live; none while another is on its way; None where nobody knows."""
        from slipway.flows.releases import live_of, releases
        from slipway.flows.standing import standing

        try:
            lines = releases(standing(self.workspace), self.stack)
        except SlipwayError:
            return None
        live = live_of(lines)
        return live.digests if live and lines[0].result != "deploying" else {}

    def logs(self, service: str, *, follow: bool, tail: int) -> Iterator[str]:
        if service == GATEWAY:
            raise ConfigError(
                f"the gateway of {self.stack.name} is the cluster's own",
                remedy="Its log is where whoever runs the cluster keeps it.",
            )
        yield from tails.lines(self.cluster, lambda: self.found(service), self.stack, service, follow, tail)

    def running(self) -> list[tuple[str, str]]:
        found = self.found()
        return [(name, image) for name, image in sorted(_images(found).items())]

    def digests(self) -> dict[str, str]:
        return {name: image.partition("@")[2] for name, image in _images(self.found()).items()}

    def healths(self, services: Collection[str]) -> dict[str, str]:
        end = time.monotonic() + PATIENCE_SECONDS
        healths = self._healths(services)
        while "starting" in healths.values() and time.monotonic() < end:
            time.sleep(1)
            healths = self._healths(services)
        return healths

    def _healths(self, services: Collection[str]) -> dict[str, str]:
        healths: dict[str, str] = {}
        found = self.found() if services else Found()
        for name in services:
            if name in found.jobs:
                healths[name] = _scheduled(name, found).state
            elif name in found.deployments:
                row = _deployed(name, found)
                healths[name] = f"{row.state}: {row.reason}" if row.reason else row.state
            else:
                healths[name] = "missing"
        return healths

    def drifted(self, live: Callable[[], Mapping[str, str]]) -> list[str]:
        known, found = live(), self.found()
        if not known:
            return []
        drifted = []
        for service in self.workspace.services:
            deployment, job = found.deployments.get(service.name), found.jobs.get(service.name)
            if service.name not in known:
                continue
            if deployment:
                if _drift_of(service, deployment, known, self.stack.name):
                    drifted.append(service.name)
            elif not job or _drift_of_job(service.name, job, known, self.stack.name):
                drifted.append(service.name)
        return drifted

    def started(self, record: Recorder) -> None:
        """A rollout's parts are the cluster's own business."""

    def clear(self, known: Collection[str]) -> None:
        """What an interrupted deploy has made, the next one takes over: it is known by its name."""

    @contextmanager
    def taking_over(self) -> Iterator[None]:
        """As `Place`: only where the namespace is the stack's own. The provider refuses by itself what exists."""
        before = os.environ.get(UPSERT)
        if self._is_own():
            os.environ[UPSERT] = "true"
        try:
            yield
        finally:
            os.environ.pop(UPSERT, None)
            if before is not None:
                os.environ[UPSERT] = before

    def _is_own(self) -> bool:
        try:
            namespace = self.cluster.find("namespace", self.cluster.where.namespace, Namespace)
        except Forbidden:
            return False
        wanted = {kubectl.PART_OF: self.workspace.deployed_name, kubectl.STACK: self.stack.name}
        return namespace is not None and wanted.items() <= namespace.metadata.labels.items()

    @contextmanager
    def watched(self, report: Report, rolling: Collection[str]) -> Iterator[None]:
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(report, rolling, over), daemon=True)
        watch.start()
        try:
            yield
        finally:
            over.set()

    def _watch(self, report: Report, rolling: Collection[str], over: threading.Event) -> None:
        while not over.wait(WATCH_SECONDS):
            names = sorted(rolling)
            with suppress(SlipwayError):  # Pulumi tells what is wrong with the cluster
                found = self.found() if names else Found()
                for name in names:
                    if name in found.deployments and name in rolling and not over.is_set():
                        report.step(name, "rolling out", _progress(_deployed(name, found)))

    def settle(self, report: Report, known: Callable[[], Collection[str] | None]) -> None:
        """A cluster holds nothing that Pulumi does not know."""

    def remove_abandoned(self, report: Report, consent: Callable[[str], bool]) -> int:  # noqa: ARG002
        name = self.cluster.where.namespace
        raise ConfigError(
            f"`{self.stack.name}` runs on a cluster: what a folder that is gone has left there is its namespace {name}",
            remedy=f"If nobody needs it: `kubectl delete namespace {name}`.",
        )

    def emptied(self, report: Report) -> None:
        name = self.cluster.where.namespace
        end = time.monotonic() + GONE_SECONDS
        while True:
            try:
                namespace = self.cluster.find("namespace", name, Namespace)
            except Forbidden:
                return report.say(f"Whether the namespace {name} is gone cannot be seen with this login.")
            if namespace is None or not namespace.metadata.deletion_timestamp:
                return None  # gone; or somebody else's, which stays
            if time.monotonic() > end:
                raise why.stuck(name, namespace, GONE_SECONDS)
            report.step(name, "removing", _waits_for(namespace))
            time.sleep(1)

    def explained(
        self,
        error: SlipwayError,
        failed: Collection[str],
        earlier: Callable[[], Mapping[str, str]],
        again: Again,
    ) -> SlipwayError:
        try:
            found = self.found() if failed else Found()
        except SlipwayError:
            return error  # Pulumi's words are better than none
        stuck = [name for name in failed if name in found.deployments and not _done(found, name)]
        if not stuck:
            return error
        cases = [why.case_of(self, name, found) for name in stuck]  # before their pods go
        back = why.way_back(cases, earlier())
        return why.told(self, cases, back, why.taken(back, again))


def _images(found: Found) -> dict[str, str]:
    images = {name: image_of(name, each.spec.template.spec) for name, each in found.deployments.items()}
    jobs = {name: image_of(name, each.spec.job_template.spec.template.spec) for name, each in found.jobs.items()}
    return {**images, **jobs}


def image_of(service: str, spec: PodSpec) -> str:
    """Return the image of the service's own container; of the first one where none is called that."""
    images = {each.name: each.image for each in reversed(spec.containers)}
    return images.get(service) or next(reversed(images.values()), "")


def _progress(row: PodsStatus) -> str:
    """Return how far a rollout is, in a line."""
    return f"{row.ready} ready" + (f", {row.reason}: {row.message}"[:LINE] if row.reason else "")


def _done(found: Found, name: str) -> bool:
    return pods.rolled_out(found.deployments[name]) and not found.trouble(name)


def _deployed(name: str, found: Found) -> PodsStatus:
    """Return a Deployment's line, without drift."""
    each = found.deployments[name]
    there = pods.alive(found.pods.get(name, []))
    trouble = found.trouble(name)
    if trouble:
        state = "failing"
    elif not each.spec.replicas:
        state = "stopped"
    else:
        state = "healthy" if pods.rolled_out(each) else "starting"
    since = _since(each, there, done=state == "healthy")
    return PodsStatus(
        name,
        state,
        short(image_of(name, each.spec.template.spec)),
        ago(int(since.timestamp())) if since else "-",
        "",
        ready=f"{each.status.ready_replicas}/{each.spec.replicas}",
        restarts=pods.restarts_of(there),
        reason=trouble.reason if trouble else "",
        message=trouble.message if trouble else "",
    )


def _since(each: Deployment, there: list[Pod], *, done: bool) -> datetime | None:
    """Return when the last rollout ended; while it has not, when its newest pod was made."""
    progress = pods.condition(each.status.conditions, "Progressing")
    if done and progress and progress.last_update_time:
        return progress.last_update_time
    return there[-1].metadata.creation_timestamp if there else each.metadata.creation_timestamp


def _scheduled(name: str, found: Found) -> PodsStatus:
    """Return a CronJob's line, without drift: since when its last run was, and how that went."""
    each = found.jobs[name]
    last, result = each.status.last_schedule_time, pods.last_result(found.runs.get(name, []))
    state = "failing" if result == "failed" else "suspended" if each.spec.suspend else "scheduled"
    return PodsStatus(
        name,
        state,
        short(image_of(name, each.spec.job_template.spec.template.spec)),
        ago(int(last.timestamp())) if last else "never",
        "",
        restarts=pods.restarts_of(found.pods.get(name, [])),
        reason=f"the last run {result}" if result else "",
    )


def _drift_of(service: Service, each: Deployment, live: Mapping[str, str] | None, stack: str) -> str:
    """Return how a Deployment differs from what was deployed."""
    if each.spec.paused:
        return f"its rollout is paused: `{how_to_deploy(stack)}` resumes it"
    wanted, scale = each.spec.replicas, service.settings.scale
    if not scale.min <= wanted <= max(scale.min, scale.max):
        many = f"{scale.min}" if scale.max <= scale.min else f"{scale.min} to {scale.max}"
        return f"scaled to {wanted}, and should be {many}: `{how_to_deploy(stack)}` restores it"
    return _drift_of_image(service.name, image_of(service.name, each.spec.template.spec), live, stack)


def _drift_of_job(name: str, each: CronJob, live: Mapping[str, str] | None, stack: str) -> str:
    if each.spec.suspend:
        return f"it is suspended: `{how_to_deploy(stack)}` resumes it"
    return _drift_of_image(name, image_of(name, each.spec.job_template.spec.template.spec), live, stack)


def _drift_of_image(name: str, image: str, live: Mapping[str, str] | None, stack: str) -> str:
    wanted = (live or {}).get(name)
    if wanted and wanted.partition("@")[2] != image.partition("@")[2]:
        return f"{short(wanted).rpartition(':')[2]} was deployed: `{how_to_deploy(stack)}` restores it"
    return ""


def _with_drift(row: PodsStatus, drift: str) -> PodsStatus:
    return replace(row, drift=drift)


def _waits_for(namespace: Namespace) -> str:
    return next((each.message for each in namespace.status.conditions if each.status == "True"), "")
