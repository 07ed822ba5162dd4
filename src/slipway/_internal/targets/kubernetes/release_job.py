"""A service's release command on a cluster: a Job with the pods' restrictions, which the Deployment waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import PodReadinessGateArgs, PodSpecArgs

from slipway._internal.commands.kubectl import RELEASE_LABEL
from slipway._internal.provider.resources import ReleaseCommand
from slipway._internal.targets.kubernetes import pods
from slipway._internal.targets.kubernetes.commands import NEVER_READY
from slipway._internal.targets.kubernetes.context import ServiceContext
from slipway._internal.targets.kubernetes.workload import PodInputs


def declare_release_command(
    ctx: ServiceContext, pod: PodInputs, after: Sequence[pulumi.Resource]
) -> list[pulumi.Resource]:
    """Declare what runs before a new image of a service serves, if it has such a command; it waits for `after`."""
    settings, stack = ctx.service.settings, ctx.stack_ctx.stack
    if not settings.release:
        return []
    labels = {**ctx.labels, RELEASE_LABEL: "true"}
    job: dict[str, Any] = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": ctx.stack_ctx.namespace, "labels": labels},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": _pod_spec(ctx, pod)}},
    }
    command = ReleaseCommand(
        ctx.name,
        target="kubernetes",
        service=ctx.name,
        stack=stack.name,
        image=pod.image,
        release=settings.release,
        rolls_back=stack.rolls_back,
        job=job,
        opts=pulumi.ResourceOptions(
            parent=ctx.parent, depends_on=[*after, *([pod.pull_secret] if pod.pull_secret else [])]
        ),
    )
    return [command]


def _pod_spec(ctx: ServiceContext, pod: PodInputs) -> PodSpecArgs:
    """Return the service's pod with the command in place of its program; a Service sends it nothing."""
    spec = pods.pod_spec(ctx, pod.image, pod.config, pod.pull_secret is not None, None)
    container: Any = next(iter(spec.containers))  # type: ignore[arg-type]  # a list, as it was given
    container.command, container.args = list(ctx.service.settings.release), None
    container.ports = container.lifecycle = None
    spec.readiness_gates = [PodReadinessGateArgs(condition_type=NEVER_READY["conditionType"])]
    return spec
