"""How many pods a service has, and how many may be evicted at once."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes.autoscaling.v2 import (
    CrossVersionObjectReferenceArgs,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpecArgs,
    MetricSpecArgs,
    MetricTargetArgs,
    ResourceMetricSourceArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget, PodDisruptionBudgetSpecArgs

from slipway._internal.targets.kubernetes.context import ServiceContext
from slipway._internal.targets.kubernetes.pods import DEFAULT_CPUS, millicores


def declare_scaling(ctx: ServiceContext, workload: pulumi.Resource) -> None:
    """Declare an autoscaler if the number of pods may vary, and a disruption budget if there is more than one."""
    scale = ctx.service.settings.scale
    if scale.max > scale.min:
        _autoscaler(ctx, workload)
    if scale.min > 1:
        _disruption_budget(ctx)


def _autoscaler(ctx: ServiceContext, workload: pulumi.Resource) -> HorizontalPodAutoscaler:
    """Declare the autoscaler: `cpu` is a percentage of a pod's limit, not of its request."""
    scale, cpus = ctx.service.settings.scale, ctx.service.settings.resources.cpus or DEFAULT_CPUS
    target = MetricTargetArgs(type="AverageValue", average_value=millicores(cpus * scale.cpu / 100))
    return HorizontalPodAutoscaler(
        ctx.name,
        metadata=ctx.metadata(),
        spec=HorizontalPodAutoscalerSpecArgs(
            scale_target_ref=CrossVersionObjectReferenceArgs(api_version="apps/v1", kind="Deployment", name=ctx.name),
            min_replicas=scale.min,
            max_replicas=scale.max,
            metrics=[
                MetricSpecArgs(type="Resource", resource=ResourceMetricSourceArgs(name="cpu", target=target)),
            ],
        ),
        opts=ctx.opts([workload]),
    )


def _disruption_budget(ctx: ServiceContext) -> PodDisruptionBudget:
    """Allow the eviction of one pod at a time, and of an unhealthy pod at any time."""
    return PodDisruptionBudget(
        ctx.name,
        metadata=ctx.metadata(),
        spec=PodDisruptionBudgetSpecArgs(
            max_unavailable=1,
            unhealthy_pod_eviction_policy="AlwaysAllow",
            selector=LabelSelectorArgs(match_labels=ctx.selector),
        ),
        opts=ctx.opts(),
    )
