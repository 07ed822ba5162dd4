"""A service's workload, with a hardened pod: a Deployment with rolling updates, a StatefulSet, or a CronJob."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import (
    Deployment,
    DeploymentSpecArgs,
    DeploymentStrategyArgs,
    RollingUpdateDeploymentArgs,
    StatefulSet,
    StatefulSetSpecArgs,
)
from pulumi_kubernetes.batch.v1 import CronJob, CronJobSpecArgs, JobSpecArgs, JobTemplateSpecArgs
from pulumi_kubernetes.core.v1 import (
    PersistentVolumeClaim,
    PersistentVolumeClaimSpecArgs,
    PodTemplateSpecArgs,
    Secret,
    VolumeResourceRequirementsArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from slipway._internal.model.containers import VolumeSettings
from slipway._internal.model.workspace import JobSettings
from slipway._internal.targets.kubernetes import pods, probes
from slipway._internal.targets.kubernetes.config import ServiceConfig
from slipway._internal.targets.kubernetes.context import ServiceContext

MIN_READY_SECONDS = 2
"""How long a new pod must be healthy before an old one is removed."""
PROGRESS_SECONDS = 60
"""Extra time for a stalled rollout beyond the container's start time: for scheduling and pulling."""
MAX_WAVES = 4
"""The maximum number of steps in a rollout of many pods: a quarter of them at a time."""
REVISION_HISTORY_LIMIT = 5
"""Old ReplicaSets that Kubernetes keeps."""
SLACK_SECONDS = 10
NO_WAIT = {"pulumi.com/skipAwait": "true"}
"""Do not wait: many clusters bind a claim only when a pod has it."""
JOB_RETRIES = 2
JOB_START_DEADLINE_SECONDS = 300
"""How late a job may start if it could not start on schedule."""


@dataclass(frozen=True)
class PodInputs:
    """The inputs of a service's pods."""

    image: pulumi.Input[str]
    config: ServiceConfig
    pull_secret: Secret | None


def declare_workload(ctx: ServiceContext, pod: PodInputs, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """Declare a service's workload; it waits for `after` and for the pull secret."""
    opts = ctx.opts([*after, *([pod.pull_secret] if pod.pull_secret else [])])
    job = ctx.service.settings.job
    if job:
        return _cron_job(ctx, pod, job, opts)
    return _stateful_set(ctx, pod, opts) if ctx.service.is_stateful else _deployment(ctx, pod, opts)


def _deployment(ctx: ServiceContext, pod: PodInputs, opts: pulumi.ResourceOptions) -> Deployment:
    """Declare a Deployment: old pods are removed only when new ones are healthy.

    A canary has one pod. If an autoscaler sets the number of pods, none is declared: each deploy would reset it.
    """
    health = probes.build_probes(ctx.service)
    scale = ctx.service.settings.scale
    deadline = health.start_seconds + PROGRESS_SECONDS
    # Kubernetes fails a rollout that stalls; the provider has its own limit for the whole rollout.
    rollout_timeout = f"{deadline * min(scale.max, MAX_WAVES) + SLACK_SECONDS}s"
    return Deployment(
        ctx.name,
        metadata=ctx.metadata(),
        spec=DeploymentSpecArgs(
            replicas=1 if ctx.is_canary else None if scale.max > scale.min else scale.min,
            selector=LabelSelectorArgs(match_labels=ctx.selector),
            strategy=DeploymentStrategyArgs(
                type="RollingUpdate",
                rolling_update=RollingUpdateDeploymentArgs(max_surge="25%", max_unavailable=0),
            ),
            min_ready_seconds=MIN_READY_SECONDS,
            progress_deadline_seconds=deadline,
            revision_history_limit=REVISION_HISTORY_LIMIT,
            template=_pod_template(ctx, pod, health),
        ),
        opts=pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(
                custom_timeouts=pulumi.CustomTimeouts(create=rollout_timeout, update=rollout_timeout)
            ),
        ),
    )


def _stateful_set(ctx: ServiceContext, pod: PodInputs, opts: pulumi.ResourceOptions) -> StatefulSet:
    """Declare a StatefulSet of one pod, whose old pod has ended before the new one starts, and its data's claims.

    No deploy removes a claim, and so no data.
    """
    health = probes.build_probes(ctx.service)
    timeout = f"{health.start_seconds + ctx.service.settings.drain + PROGRESS_SECONDS}s"
    claims = [_claim(ctx, volume) for volume in ctx.service.settings.volumes]
    return StatefulSet(
        ctx.name,
        metadata=ctx.metadata(),
        spec=StatefulSetSpecArgs(
            replicas=1,
            service_name=ctx.name,
            selector=LabelSelectorArgs(match_labels=ctx.selector),
            min_ready_seconds=MIN_READY_SECONDS,
            revision_history_limit=REVISION_HISTORY_LIMIT,
            template=_pod_template(ctx, pod, health),
        ),
        opts=pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(
                depends_on=claims, custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout)
            ),
        ),
    )


def _claim(ctx: ServiceContext, volume: VolumeSettings) -> PersistentVolumeClaim:
    name = pods.claim_name(ctx.name, volume.name)
    return PersistentVolumeClaim(
        name,
        metadata=ctx.metadata(name, annotations=NO_WAIT),
        spec=PersistentVolumeClaimSpecArgs(
            access_modes=["ReadWriteOnce"],
            resources=VolumeResourceRequirementsArgs(requests={"storage": pods.kubernetes_quantity(volume.size)}),
        ),
        opts=pulumi.ResourceOptions.merge(
            ctx.opts(),
            # What the cluster has bound cannot be changed, but for the size.
            pulumi.ResourceOptions(
                retain_on_delete=True, ignore_changes=["spec.storageClassName", "spec.volumeName", "spec.volumeMode"]
            ),
        ),
    )


def _cron_job(ctx: ServiceContext, pod: PodInputs, job: JobSettings, opts: pulumi.ResourceOptions) -> CronJob:
    """Declare a CronJob: one run at a time, scheduled in UTC, retried on failure."""
    return CronJob(
        ctx.name,
        metadata=ctx.metadata(),
        spec=CronJobSpecArgs(
            schedule=job.schedule,
            time_zone="Etc/UTC",
            concurrency_policy="Forbid",
            starting_deadline_seconds=JOB_START_DEADLINE_SECONDS,
            job_template=JobTemplateSpecArgs(
                metadata=ObjectMetaArgs(labels=ctx.labels),
                spec=JobSpecArgs(backoff_limit=JOB_RETRIES, template=_pod_template(ctx, pod, None)),
            ),
        ),
        opts=opts,
    )


def _pod_template(ctx: ServiceContext, pod: PodInputs, health: probes.Probes | None) -> PodTemplateSpecArgs:
    """Return the pods' template; without probes it is for a job, which runs to completion."""
    spec = pods.pod_spec(ctx, pod.image, pod.config, pod.pull_secret is not None, health)
    return PodTemplateSpecArgs(metadata=ObjectMetaArgs(labels=ctx.labels), spec=spec)
