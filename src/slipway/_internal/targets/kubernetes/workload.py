"""What runs: a Deployment that is rolled over without a gap, or a CronJob; both with the same hardened pod."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import (
    Deployment,
    DeploymentSpecArgs,
    DeploymentStrategyArgs,
    RollingUpdateDeploymentArgs,
)
from pulumi_kubernetes.batch.v1 import CronJob, CronJobSpecArgs, JobSpecArgs, JobTemplateSpecArgs
from pulumi_kubernetes.core.v1 import PodTemplateSpecArgs, Secret
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from slipway._internal.model.workspace import JobSettings
from slipway._internal.targets.kubernetes import pods, probes
from slipway._internal.targets.kubernetes.config import ServiceConfig
from slipway._internal.targets.kubernetes.context import ServiceContext

MIN_READY_SECONDS = 2
"""How long a pod has to be well before an old one may go."""
PROGRESS_SECONDS = 60
"""How long a rollout may stand still beside the time that a container may take to start: pulling, scheduling."""
MAX_WAVES = 4
"""In how many steps a rollout of many pods goes at most: a quarter of them at a time."""
REVISION_HISTORY_LIMIT = 5
"""Old ReplicaSets that Kubernetes keeps."""
SLACK_SECONDS = 10
JOB_RETRIES = 2
JOB_START_DEADLINE_SECONDS = 300
"""How late a job may begin when it could not at its time."""


@dataclass(frozen=True)
class PodInputs:
    """What a service's pods are made from."""

    image: pulumi.Input[str]
    config: ServiceConfig
    pull_secret: Secret | None


def declare_workload(ctx: ServiceContext, pod: PodInputs, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """Declare what runs of a service; it waits for `after` and for the login that its image is pulled with."""
    opts = ctx.opts([*after, *([pod.pull_secret] if pod.pull_secret else [])])
    job = ctx.service.settings.job
    return _cron_job(ctx, pod, job, opts) if job else _deployment(ctx, pod, opts)


def _deployment(ctx: ServiceContext, pod: PodInputs, opts: pulumi.ResourceOptions) -> Deployment:
    """Declare a Deployment: new pods first, old ones only when those are well.

    Where an autoscaler sets the number of pods none is declared: each deploy would set it back.
    """
    health = probes.build_probes(ctx.service)
    scale = ctx.service.settings.scale
    deadline = health.start_seconds + PROGRESS_SECONDS
    # Kubernetes calls a rollout failed when it stands still; the provider goes by its own time for all of it.
    rollout_timeout = f"{deadline * min(scale.max, MAX_WAVES) + SLACK_SECONDS}s"
    return Deployment(
        ctx.name,
        metadata=ctx.metadata(),
        spec=DeploymentSpecArgs(
            replicas=None if scale.max > scale.min else scale.min,
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


def _cron_job(ctx: ServiceContext, pod: PodInputs, job: JobSettings, opts: pulumi.ResourceOptions) -> CronJob:
    """Declare a CronJob: one run at a time, by UTC, tried again where it fails."""
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
    """Return the pods' template; without probes they are those of a job, which runs to its end."""
    spec = pods.pod_spec(ctx, pod.image, pod.config, pod.pull_secret is not None, health)
    return PodTemplateSpecArgs(metadata=ObjectMetaArgs(labels=ctx.labels), spec=spec)
