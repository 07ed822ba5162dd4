"""Where stacks run: one folder per target, their common parts, and a team's own targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # each target is imported only where a stack runs there
    from slipway._internal.model.stack import Stack
    from slipway._internal.model.workspace import Workspace
    from slipway._internal.targets.target import DeploymentTarget


def target_of(workspace: Workspace, stack: Stack) -> DeploymentTarget:
    """Return the target that a stack runs on, without contacting it.

    Raises:
        SlipwayError: a tool or setting that is needed to contact it is missing.
    """
    if stack.target == "kubernetes":
        from slipway._internal.run.cluster import cluster_of
        from slipway._internal.targets.kubernetes.observation import KubernetesTarget

        return KubernetesTarget(workspace, stack, cluster_of(workspace, stack))
    if stack.target == "docker":
        from slipway._internal.targets.docker.observation import DockerTarget

        return DockerTarget(workspace, stack)
    from slipway._internal.targets.own import OwnTarget

    return OwnTarget(workspace, stack)
