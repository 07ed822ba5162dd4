"""How many pods of a service there are, and how many may be taken away at once."""

from __future__ import annotations

from collections.abc import Iterator

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

from infra.targets.kubernetes.place import Plot
from infra.targets.kubernetes.pods import CPUS, millicores


def of(mine: Plot) -> Iterator[pulumi.Resource]:
    """Declare an autoscaler where the number may vary, and where there are several, a budget for what is drained."""
    scale = mine.service.settings.scale
    if scale.max > scale.min:
        yield _autoscaler(mine)
    if scale.min > 1:
        yield _budget(mine)


def _autoscaler(mine: Plot) -> HorizontalPodAutoscaler:
    """Declare the autoscaler: `cpu` is percent of what a pod may use, not of what is kept free for it."""
    scale, cpus = mine.service.settings.scale, mine.service.settings.resources.cpus or CPUS
    target = MetricTargetArgs(type="AverageValue", average_value=millicores(cpus * scale.cpu / 100))
    return HorizontalPodAutoscaler(
        mine.name,
        metadata=mine.metadata(),
        spec=HorizontalPodAutoscalerSpecArgs(
            scale_target_ref=CrossVersionObjectReferenceArgs(api_version="apps/v1", kind="Deployment", name=mine.name),
            min_replicas=scale.min,
            max_replicas=scale.max,
            metrics=[
                MetricSpecArgs(type="Resource", resource=ResourceMetricSourceArgs(name="cpu", target=target)),
            ],
        ),
        opts=mine.opts(),
    )


def _budget(mine: Plot) -> PodDisruptionBudget:
    """Declare that one pod at a time may be drained, and one that is not well always."""
    return PodDisruptionBudget(
        mine.name,
        metadata=mine.metadata(),
        spec=PodDisruptionBudgetSpecArgs(
            max_unavailable=1,
            unhealthy_pod_eviction_policy="AlwaysAllow",
            selector=LabelSelectorArgs(match_labels=mine.selector),
        ),
        opts=mine.opts(),
    )
