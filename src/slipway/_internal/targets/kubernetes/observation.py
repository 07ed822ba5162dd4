"""A stack on a Kubernetes cluster: a Deployment and its pods for each service, or a CronJob for a job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from slipway._internal.commands import kubectl
from slipway._internal.context.reporter import Reporter
from slipway._internal.insight.run_recorder import Recorder
from slipway._internal.model.canary import canary_object_name
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.stack import Stack, gateway_namespace_of, how_to_deploy
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.run.cluster import Cluster, Forbidden
from slipway._internal.run.kubernetes_objects import (
    CronJob,
    Deployment,
    Event,
    Job,
    Namespace,
    PersistentVolumeClaim,
    Pod,
    StatefulSet,
)
from slipway._internal.run.owner import OWNER_LABEL, DeployedObject, owner_of, refuse_others
from slipway._internal.targets.kubernetes import commands, explanation, pod_status
from slipway._internal.targets.kubernetes import logs as tails
from slipway._internal.targets.kubernetes.snapshot import ClusterSnapshot, image_of
from slipway._internal.targets.status import GATEWAY, ServiceStatus, format_age, shorten_image
from slipway._internal.targets.target import DataVolume, Redeploy

OBJECT_KINDS = ("deployments.apps", "statefulsets.apps", "cronjobs.batch", "jobs.batch", "pods")
NAMESPACE_DELETE_SECONDS = 90.0
"""How long a namespace may take to be deleted once Pulumi has removed what was in it."""
HEALTH_WAIT_SECONDS = 30.0
"""How long a service may still be starting once Pulumi is done, for example because of a manual rollout."""
ROLLOUT_POLL_SECONDS = 0.5
ROLLOUT_SECONDS = 900.0
"""How long rollouts that Pulumi calls done may still run. Kubernetes itself gives up on those that stall."""
PROGRESS_POLL_SECONDS = 3.0
"""How often the progress of rollouts is checked."""
PROGRESS_MESSAGE_LIMIT = 160
"""How many characters of a pod's problem fit in a progress line; the error has the full text."""
DRIFT_UNKNOWN = "unknown: the stack's state cannot be read here"


@dataclass(frozen=True)
class KubernetesServiceStatus(ServiceStatus):
    """A service's status on the cluster: its ready pods, their restarts, and why one does not serve."""

    columns: ClassVar[tuple[str, ...]] = ("service", "state", "ready", "restarts", "image", "since", "drift")

    ready: str = "-"
    restarts: int = 0
    reason: str = ""
    message: str = ""

    @property
    def coloured_state(self) -> str:
        plain = super().coloured_state
        return f"{plain} ({self.reason})" if self.reason else plain

    @property
    def cells(self) -> tuple[str, ...]:
        drift = self.drift or "none"
        return self.service, self.coloured_state, self.ready, str(self.restarts), self.image, self.since, drift


@dataclass(frozen=True)
class KubernetesTarget:
    """One stack on a cluster."""

    workspace: Workspace
    stack: Stack
    cluster: Cluster

    def take_snapshot(self, service: str | None = None) -> ClusterSnapshot:
        """Read everything that the cluster has of the stack, or of one service, in one request."""
        labels = kubectl.label_selector(self.workspace.deployed_name, self.stack.name, service)
        snapshot = ClusterSnapshot()
        for obj in self.cluster.list_objects(OBJECT_KINDS, labels):
            if not isinstance(obj, Namespace | Event) and kubectl.RELEASE_LABEL in obj.metadata.labels:
                continue
            name = "" if isinstance(obj, Namespace | Event) else obj.metadata.labels.get(kubectl.NAME_LABEL, "")
            if isinstance(obj, Deployment):
                snapshot.deployments[name] = obj
            elif isinstance(obj, StatefulSet):
                snapshot.deployments[name] = Deployment(obj.metadata, obj.spec, obj.status)
                snapshot.stateful.add(name)
            elif isinstance(obj, CronJob):
                snapshot.cron_jobs[name] = obj
            elif isinstance(obj, Job):
                snapshot.job_runs.setdefault(name, []).append(obj)
            elif isinstance(obj, Pod) and kubectl.COMMAND_LABEL not in obj.metadata.labels:
                snapshot.pods.setdefault(name, []).append(obj)
        return snapshot

    def refuse_foreign_objects(self, known_ids: Callable[[], Collection[str]]) -> None:
        names = [self.cluster.where.namespace]
        if self.stack.gateway:
            names.append(gateway_namespace_of(self.workspace.deployed_name, self.stack))
        for name in names:
            namespace = self._find_namespace(name)
            if namespace is None:
                continue
            if OWNER_LABEL in namespace.metadata.annotations:
                # Pulumi identifies a namespace by name only, which does not say who created it.
                thing = DeployedObject("namespace", name, "", namespace.metadata.annotations)
                refuse_others(owner_of(self.workspace.project), self.stack.name, [thing], tuple)
            elif not self._owns(namespace) and name not in known_ids():
                raise ConfigError(  # a provider may adopt what exists, and `down` would then remove it
                    f"the namespace {name} already exists, and `{self.stack.name}` did not create it",
                    remedy=f"Set another slipway:namespace in {self.stack.file}. Or, if nobody needs it: "
                    f"`kubectl delete namespace {name}`.",
                )

    def status(self, live_images: Callable[[], Mapping[str, str] | None]) -> list[KubernetesServiceStatus]:
        snapshot = self.take_snapshot()
        if not snapshot.deployments and not snapshot.cron_jobs:
            return []
        deployed_images = live_images()
        rows = [self._status_row(service, snapshot, deployed_images) for service in self.workspace.services]
        known = {service.name for service in self.workspace.services}
        for name in sorted((snapshot.deployments.keys() | snapshot.cron_jobs.keys()) - known):
            row = _deployment_row(name, snapshot) if name in snapshot.deployments else _cron_job_row(name, snapshot)
            service = next((service for service in known if canary_object_name(service) == name), "")
            verb = f"invoke canary {service} --promote --stack {self.stack.name}"
            rows.append(_with_drift(row, f"a canary: `{verb}` or `--abort`" if service else "no such service any more"))
        return rows

    def _status_row(
        self, service: Service, snapshot: ClusterSnapshot, live_images: Mapping[str, str] | None
    ) -> KubernetesServiceStatus:
        name = service.name
        if name in snapshot.deployments:
            row, drift = (
                _deployment_row(name, snapshot),
                _deployment_drift(service, snapshot.deployments[name], live_images, self.stack.name),
            )
        elif name in snapshot.cron_jobs:
            row, drift = (
                _cron_job_row(name, snapshot),
                _cron_job_drift(name, snapshot.cron_jobs[name], live_images, self.stack.name),
            )
        else:
            return KubernetesServiceStatus(
                name, "missing", "-", "-", f"not there: `{how_to_deploy(self.stack.name)}` restores it"
            )
        return _with_drift(row, DRIFT_UNKNOWN if live_images is None and not drift else drift)

    def logs(self, service: str, *, follow: bool, tail: int) -> Iterator[str]:
        if service == GATEWAY:
            raise ConfigError(
                f"the gateway of {self.stack.name} belongs to the cluster, so Slipway cannot read its log",
                remedy="Ask whoever runs the cluster where it keeps the log.",
            )
        yield from tails.read_pod_logs(
            self.cluster, lambda: self.take_snapshot(service), self.stack, service, follow, tail
        )

    def exec_command(self, service: str, command: Sequence[str]) -> int:
        return commands.exec_command(self.cluster, self.take_snapshot(service), self.stack, service, command)

    def run_command(self, service: str, command: Sequence[str]) -> int:
        return commands.run_command(self.cluster, self.take_snapshot(service), self.stack, service, command)

    def data_volumes(self) -> list[DataVolume]:
        labels = kubectl.label_selector(self.workspace.deployed_name, self.stack.name, None)
        return [
            DataVolume(claim.metadata.name, claim.metadata.labels.get(kubectl.NAME_LABEL, ""))
            for claim in self.cluster.list_objects(("persistentvolumeclaims",), labels)
            if isinstance(claim, PersistentVolumeClaim)
        ]

    def remove_data_volume(self, volume: DataVolume) -> None:
        self.cluster.delete_claim(volume.name)
        if not self.data_volumes() and self.may_adopt_existing():
            self.cluster.delete_namespace()  # a stack with data leaves it

    def running_images(self) -> list[tuple[str, str]]:
        snapshot = self.take_snapshot()
        return [(name, image) for name, image in sorted(_images_by_service(snapshot).items())]

    def running_digests(self) -> dict[str, str]:
        return {name: image.partition("@")[2] for name, image in _images_by_service(self.take_snapshot()).items()}

    def service_health(self, services: Collection[str]) -> dict[str, str]:
        end = time.monotonic() + HEALTH_WAIT_SECONDS
        healths = self._current_health(services)
        while "starting" in healths.values() and time.monotonic() < end:
            time.sleep(1)
            healths = self._current_health(services)
        return healths

    def _current_health(self, services: Collection[str]) -> dict[str, str]:
        healths: dict[str, str] = {}
        snapshot = self.take_snapshot() if services else ClusterSnapshot()
        for name in services:
            if name in snapshot.cron_jobs:
                healths[name] = _cron_job_row(name, snapshot).state
            elif name in snapshot.deployments:
                row = _deployment_row(name, snapshot)
                healths[name] = f"{row.state}: {row.reason}" if row.reason else row.state
            else:
                healths[name] = "missing"
        return healths

    def drifted_services(self, live_images: Callable[[], Mapping[str, str]]) -> list[str]:
        live_refs, snapshot = live_images(), self.take_snapshot()
        if not live_refs:
            return []
        drifted = []
        for service in self.workspace.services:
            deployment, job = snapshot.deployments.get(service.name), snapshot.cron_jobs.get(service.name)
            if service.name not in live_refs:
                continue
            if deployment:
                if _deployment_drift(service, deployment, live_refs, self.stack.name):
                    drifted.append(service.name)
            elif not job or _cron_job_drift(service.name, job, live_refs, self.stack.name):
                drifted.append(service.name)
        return drifted

    def record_starts(self, recorder: Recorder) -> None:
        """Do nothing: the parts of a rollout are not recorded."""

    def remove_orphans(self, known_ids: Collection[str]) -> None:
        """Do nothing: the next deploy adopts what an interrupted one created, as objects are identified by name."""

    def may_adopt_existing(self) -> bool:
        """Return whether the namespace is the stack's own. Since 4.26 the provider refuses what exists otherwise."""
        namespace = self._find_namespace(self.cluster.where.namespace)
        return namespace is not None and self._owns(namespace)

    def _find_namespace(self, name: str) -> Namespace | None:
        """Return a namespace; None if it does not exist or this login may not see it."""
        with suppress(Forbidden):
            return self.cluster.find_object("namespace", name, Namespace)
        return None

    def _owns(self, namespace: Namespace) -> bool:
        own_labels = {kubectl.PART_OF_LABEL: self.workspace.deployed_name, kubectl.STACK_LABEL: self.stack.name}
        return own_labels.items() <= namespace.metadata.labels.items()

    @contextmanager
    def report_progress(self, reporter: Reporter, rolling: Collection[str]) -> Iterator[None]:
        over = threading.Event()
        watch = threading.Thread(target=self._poll_progress, args=(reporter, rolling, over), daemon=True)
        watch.start()
        try:
            yield
        finally:
            over.set()

    def _poll_progress(self, reporter: Reporter, rolling: Collection[str], over: threading.Event) -> None:
        while not over.wait(PROGRESS_POLL_SECONDS):
            names = sorted(rolling)
            with suppress(SlipwayError):  # Pulumi reports what is wrong with the cluster
                snapshot = self.take_snapshot() if names else ClusterSnapshot()
                for name in names:
                    if name in snapshot.deployments and name in rolling and not over.is_set():
                        reporter.step(name, "rolling out", _describe_progress(_deployment_row(name, snapshot)))

    def unfinished_rollouts(self) -> list[str]:
        """Check the rollouts on the cluster itself.

        Pulumi's plugin has one watch for all Deployments of a namespace. If several change at once, it may judge one by
        its state before the change, and call a rollout done that has only started.
        """
        end = time.monotonic() + ROLLOUT_SECONDS
        while True:
            deployments = self.take_snapshot().deployments
            states = {
                service.name: pod_status.rollout_state(deployments[service.name])
                for service in self.workspace.services
                if service.name in deployments
            }
            failed = [name for name, state in states.items() if state == "failed"]
            under_way = [name for name, state in states.items() if state == "under way"]
            if failed or not under_way or time.monotonic() > end:
                return failed or under_way
            time.sleep(ROLLOUT_POLL_SECONDS)

    def remove_superseded(self, reporter: Reporter, known_ids: Callable[[], Collection[str] | None]) -> None:
        """Do nothing: the cluster has nothing that Pulumi does not know."""

    def remove_abandoned(self, reporter: Reporter, consent: Callable[[str], bool]) -> int:  # noqa: ARG002
        name = self.cluster.where.namespace
        raise ConfigError(
            f"`{self.stack.name}` runs on a cluster, where a deleted folder leaves its namespace {name}",
            remedy=f"If nobody needs it, run `kubectl delete namespace {name}`.",
        )

    def wait_deleted(self, reporter: Reporter) -> None:
        name = self.cluster.where.namespace
        end = time.monotonic() + NAMESPACE_DELETE_SECONDS
        while True:
            try:
                namespace = self.cluster.find_object("namespace", name, Namespace)
            except Forbidden:
                return reporter.say(f"This login may not see whether the namespace {name} is gone.")
            if namespace is None or not namespace.metadata.deletion_timestamp:
                return None  # it is gone, or it is somebody else's and stays
            if time.monotonic() > end:
                raise explanation.stuck_namespace_error(name, namespace, NAMESPACE_DELETE_SECONDS)
            reporter.step(name, "removing", _deletion_blocker(namespace))
            time.sleep(1)

    def explain_failure(
        self,
        error: SlipwayError,
        failed_services: Collection[str],
        live_images: Callable[[], Mapping[str, str]],
        redeploy: Redeploy,
    ) -> SlipwayError:
        try:
            snapshot = self.take_snapshot() if failed_services else ClusterSnapshot()
        except SlipwayError:
            return error  # Pulumi's error is better than none
        stuck_services = [
            name for name in failed_services if name in snapshot.deployments and not _is_healthy(snapshot, name)
        ]
        if not stuck_services:
            return error
        failures = [
            explanation.inspect_failed_rollout(self.cluster, self.workspace, self.stack, name, snapshot)
            for name in stuck_services
        ]  # before their pods are deleted
        plan = explanation.plan_rollback(failures, live_images())
        return explanation.rollout_error(self.stack.name, failures, plan, explanation.apply_rollback(plan, redeploy))


def _images_by_service(snapshot: ClusterSnapshot) -> dict[str, str]:
    images = {name: image_of(name, deployment.spec.template.spec) for name, deployment in snapshot.deployments.items()}
    jobs = {
        name: image_of(name, deployment.spec.job_template.spec.template.spec)
        for name, deployment in snapshot.cron_jobs.items()
    }
    return {**images, **jobs}


def _describe_progress(row: KubernetesServiceStatus) -> str:
    """Return a rollout's progress in one line."""
    return f"{row.ready} ready" + (f", {row.reason}: {row.message}"[:PROGRESS_MESSAGE_LIMIT] if row.reason else "")


def _is_healthy(snapshot: ClusterSnapshot, name: str) -> bool:
    return pod_status.is_rolled_out(snapshot.deployments[name]) and not snapshot.find_problem(name)


def _deployment_row(name: str, snapshot: ClusterSnapshot) -> KubernetesServiceStatus:
    """Return a Deployment's status, without drift."""
    deployment = snapshot.deployments[name]
    active = pod_status.active_pods(snapshot.pods.get(name, []))
    problem = snapshot.find_problem(name)
    if problem:
        state = "failing"
    elif not deployment.spec.replicas:
        state = "stopped"
    else:
        state = "healthy" if pod_status.is_rolled_out(deployment) else "starting"
    since = _rollout_time(deployment, active, done=state == "healthy")
    return KubernetesServiceStatus(
        name,
        state,
        shorten_image(image_of(name, deployment.spec.template.spec)),
        format_age(int(since.timestamp())) if since else "-",
        "",
        ready=f"{deployment.status.ready_replicas}/{deployment.spec.replicas}",
        restarts=pod_status.count_restarts(active),
        reason=problem.reason if problem else "",
        message=problem.message if problem else "",
    )


def _rollout_time(deployment: Deployment, active: list[Pod], *, done: bool) -> datetime | None:
    """Return when the last rollout ended, or, while it runs, when its newest pod was created."""
    progress = pod_status.find_condition(deployment.status.conditions, "Progressing")
    if done and progress and progress.last_update_time:
        return progress.last_update_time
    return active[-1].metadata.creation_timestamp if active else deployment.metadata.creation_timestamp


def _cron_job_row(name: str, snapshot: ClusterSnapshot) -> KubernetesServiceStatus:
    """Return a CronJob's status, without drift: when it last ran, and with what result."""
    cron_job = snapshot.cron_jobs[name]
    last, result = cron_job.status.last_schedule_time, pod_status.last_job_result(snapshot.job_runs.get(name, []))
    state = "failing" if result == "failed" else "suspended" if cron_job.spec.suspend else "scheduled"
    return KubernetesServiceStatus(
        name,
        state,
        shorten_image(image_of(name, cron_job.spec.job_template.spec.template.spec)),
        format_age(int(last.timestamp())) if last else "never",
        "",
        restarts=pod_status.count_restarts(snapshot.pods.get(name, [])),
        reason=f"the last run {result}" if result else "",
    )


def _deployment_drift(
    service: Service, deployment: Deployment, live_images: Mapping[str, str] | None, stack: str
) -> str:
    """Return how a Deployment differs from what was deployed."""
    if deployment.spec.paused:
        return f"its rollout is paused: `{how_to_deploy(stack)}` resumes it"
    replicas, scale = deployment.spec.replicas, service.settings.scale
    if not scale.min <= replicas <= max(scale.min, scale.max):
        expected = f"{scale.min}" if scale.max <= scale.min else f"{scale.min} to {scale.max}"
        return f"scaled to {replicas}, and should be {expected}: `{how_to_deploy(stack)}` restores it"
    return _image_drift(service.name, image_of(service.name, deployment.spec.template.spec), live_images, stack)


def _cron_job_drift(name: str, cron_job: CronJob, live_images: Mapping[str, str] | None, stack: str) -> str:
    if cron_job.spec.suspend:
        return f"it is suspended: `{how_to_deploy(stack)}` resumes it"
    return _image_drift(name, image_of(name, cron_job.spec.job_template.spec.template.spec), live_images, stack)


def _image_drift(name: str, image: str, live_images: Mapping[str, str] | None, stack: str) -> str:
    live_image = (live_images or {}).get(name)
    if live_image and live_image.partition("@")[2] != image.partition("@")[2]:
        return f"{shorten_image(live_image).rpartition(':')[2]} was deployed: `{how_to_deploy(stack)}` restores it"
    return ""


def _with_drift(row: KubernetesServiceStatus, drift: str) -> KubernetesServiceStatus:
    return replace(row, drift=drift)


def _deletion_blocker(namespace: Namespace) -> str:
    return next((condition.message for condition in namespace.status.conditions if condition.status == "True"), "")
