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
from slipway.model.workspace import Job

from infra.targets.kubernetes import pods, probes
from infra.targets.kubernetes.files import Files
from infra.targets.kubernetes.place import Plot

STEADY_SECONDS = 2
"""How long a pod has to be well before an old one may go."""
PROGRESS_SECONDS = 60
"""How long a rollout may stand still beside the time that a container may take to start: pulling, scheduling."""
WAVES = 4
"""In how many steps a rollout of many pods goes at most: a quarter of them at a time."""
KEPT = 5
"""Old ReplicaSets that Kubernetes keeps."""
SLACK_SECONDS = 10
TRIES = 2
LATE_SECONDS = 300
"""How late a job may begin when it could not at its time."""


@dataclass(frozen=True)
class Pod:
    """What a service's pods are made from."""

    image: pulumi.Input[str]
    files: Files
    login: Secret | None


def running(mine: Plot, pod: Pod, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """Declare what runs of a service; it waits for `after` and for the login that its image is pulled with."""
    opts = mine.opts([*after, *([pod.login] if pod.login else [])])
    job = mine.service.settings.job
    return _cron_job(mine, pod, job, opts) if job else _deployment(mine, pod, opts)


def _deployment(mine: Plot, pod: Pod, opts: pulumi.ResourceOptions) -> Deployment:
    """Declare a Deployment: new pods first, old ones only when those are well.

    Where an autoscaler sets the number of pods none is declared: each deploy would set it back.
    """
    health = probes.of(mine.service)
    scale = mine.service.settings.scale
    deadline = health.seconds + PROGRESS_SECONDS
    # Kubernetes calls a rollout failed when it stands still; the provider goes by its own time for all of it.
    patience = f"{deadline * min(scale.max, WAVES) + SLACK_SECONDS}s"
    return Deployment(
        mine.name,
        metadata=mine.metadata(),
        spec=DeploymentSpecArgs(
            replicas=None if scale.max > scale.min else scale.min,
            selector=LabelSelectorArgs(match_labels=mine.selector),
            strategy=DeploymentStrategyArgs(
                type="RollingUpdate",
                rolling_update=RollingUpdateDeploymentArgs(max_surge="25%", max_unavailable=0),
            ),
            min_ready_seconds=STEADY_SECONDS,
            progress_deadline_seconds=deadline,
            revision_history_limit=KEPT,
            template=_template(mine, pod, health),
        ),
        opts=pulumi.ResourceOptions.merge(
            opts, pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create=patience, update=patience))
        ),
    )


def _cron_job(mine: Plot, pod: Pod, job: Job, opts: pulumi.ResourceOptions) -> CronJob:
    """Declare a CronJob: one run at a time, by UTC, tried again where it fails."""
    return CronJob(
        mine.name,
        metadata=mine.metadata(),
        spec=CronJobSpecArgs(
            schedule=job.schedule,
            time_zone="Etc/UTC",
            concurrency_policy="Forbid",
            starting_deadline_seconds=LATE_SECONDS,
            job_template=JobTemplateSpecArgs(
                metadata=ObjectMetaArgs(labels=mine.labels),
                spec=JobSpecArgs(backoff_limit=TRIES, template=_template(mine, pod, None)),
            ),
        ),
        opts=opts,
    )


def _template(mine: Plot, pod: Pod, health: probes.Probes | None) -> PodTemplateSpecArgs:
    """Return the pods' template; without probes they are those of a job, which runs to its end."""
    spec = pods.spec(mine, pod.image, pod.files, pod.login is not None, health)
    return PodTemplateSpecArgs(metadata=ObjectMetaArgs(labels=mine.labels), spec=spec)
