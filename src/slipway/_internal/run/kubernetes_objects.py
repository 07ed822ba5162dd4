"""Kubernetes objects, as far as Slipway reads them."""

from __future__ import annotations

from datetime import datetime

import msgspec


class ObjectPart(msgspec.Struct, frozen=True, rename="camel"):
    """A part of an object; keys that are not named here are passed over."""


class ObjectMeta(ObjectPart, frozen=True):
    """Name, labels and times of an object."""

    name: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    generation: int = 0
    finalizers: tuple[str, ...] = ()


class Condition(ObjectPart, frozen=True):
    """One thing that is true of an object, or is not, and why."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_update_time: datetime | None = None


class PodContainer(ObjectPart, frozen=True):
    """A container as it is wanted."""

    name: str
    image: str = ""


class PodSpec(ObjectPart, frozen=True):
    """What a pod is made of."""

    containers: tuple[PodContainer, ...] = ()


class PodTemplate(ObjectPart, frozen=True):
    """What pods are made from."""

    spec: PodSpec = PodSpec()


class DeploymentSpec(ObjectPart, frozen=True):
    """What a Deployment wants."""

    replicas: int = 1
    paused: bool = False
    template: PodTemplate = PodTemplate()


class DeploymentStatus(ObjectPart, frozen=True):
    """How far a Deployment is."""

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    updated_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class Deployment(ObjectPart, frozen=True, tag_field="kind", tag="Deployment"):
    """A service that runs all the time."""

    metadata: ObjectMeta
    spec: DeploymentSpec
    status: DeploymentStatus = DeploymentStatus()


class StatefulSet(ObjectPart, frozen=True, tag_field="kind", tag="StatefulSet"):
    """A service that keeps data, and runs all the time."""

    metadata: ObjectMeta
    spec: DeploymentSpec
    status: DeploymentStatus = DeploymentStatus()


class PersistentVolumeClaim(ObjectPart, frozen=True, tag_field="kind", tag="PersistentVolumeClaim"):
    """The volume that a service keeps its data on."""

    metadata: ObjectMeta


class ContainerStateWaiting(ObjectPart, frozen=True):
    """Why a container does not run yet."""

    reason: str = ""
    message: str = ""


class ContainerStateTerminated(ObjectPart, frozen=True):
    """How a container's run ended."""

    exit_code: int
    reason: str = ""
    message: str = ""


class ContainerStateRunning(ObjectPart, frozen=True):
    """Since when a container runs."""

    started_at: datetime | None = None


class ContainerState(ObjectPart, frozen=True):
    """Where a container is: one of the three, or none."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(ObjectPart, frozen=True):
    """One container of a pod."""

    name: str
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodStatus(ObjectPart, frozen=True):
    """Where a pod is."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(ObjectPart, frozen=True, tag_field="kind", tag="Pod"):
    """A pod."""

    metadata: ObjectMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class JobStatus(ObjectPart, frozen=True):
    """How a job went."""

    conditions: tuple[Condition, ...] = ()
    active: int = 0


class Job(ObjectPart, frozen=True, tag_field="kind", tag="Job"):
    """One run of a CronJob."""

    metadata: ObjectMeta
    status: JobStatus = JobStatus()


class JobSpec(ObjectPart, frozen=True):
    """What a job is made from."""

    template: PodTemplate = PodTemplate()


class JobTemplate(ObjectPart, frozen=True):
    """What a CronJob makes."""

    spec: JobSpec = JobSpec()


class CronJobSpec(ObjectPart, frozen=True):
    """When a CronJob runs, and what."""

    schedule: str = ""
    suspend: bool = False
    job_template: JobTemplate = JobTemplate()


class CronJobStatus(ObjectPart, frozen=True):
    """When a CronJob ran last."""

    last_schedule_time: datetime | None = None


class CronJob(ObjectPart, frozen=True, tag_field="kind", tag="CronJob"):
    """A service that runs on a schedule."""

    metadata: ObjectMeta
    spec: CronJobSpec
    status: CronJobStatus = CronJobStatus()


class NamespaceStatus(ObjectPart, frozen=True):
    """Whether a namespace is going, and what it waits for."""

    phase: str = ""
    conditions: tuple[Condition, ...] = ()


class Namespace(ObjectPart, frozen=True, tag_field="kind", tag="Namespace"):
    """A namespace."""

    metadata: ObjectMeta
    status: NamespaceStatus = NamespaceStatus()


class Event(ObjectPart, frozen=True, tag_field="kind", tag="Event"):
    """Something that happened to an object."""

    type: str = ""
    reason: str = ""
    message: str | None = None
    count: int | None = None
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None

    @property
    def last_seen(self) -> float:
        """Seconds since 1970 when it happened last; 0 where nobody says."""
        timestamp = self.last_timestamp or self.event_time or self.first_timestamp
        return timestamp.timestamp() if timestamp else 0.0


KubernetesObject = Deployment | StatefulSet | PersistentVolumeClaim | Pod | Job | CronJob | Namespace | Event


class ObjectList(ObjectPart, frozen=True):
    """A list of objects."""

    items: tuple[KubernetesObject, ...] = ()
