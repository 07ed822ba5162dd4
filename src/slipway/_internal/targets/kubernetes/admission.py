"""The admission policy of the stack's namespace: only images from this stack's registries, by digest."""

from __future__ import annotations

from typing import Any

from pulumi_kubernetes.admissionregistration.v1 import ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding

from slipway._internal.commands import admission
from slipway._internal.targets.kubernetes.context import KubernetesContext


def declare_admission_policy(stack_ctx: KubernetesContext) -> None:
    """Declare the admission policy and its binding, unless `slipway:admission` leaves that to somebody else."""
    if not stack_ctx.stack.admission:
        return
    name = admission.images_policy_name(stack_ctx.namespace)
    allowed: Any = admission.images_policy(admission.allowed_prefixes(stack_ctx.workspace, stack_ctx.stack))
    binding: Any = admission.images_policy_binding(stack_ctx.namespace)
    policy = ValidatingAdmissionPolicy(
        name, metadata=stack_ctx.cluster_metadata(name), spec=allowed, opts=stack_ctx.opts()
    )
    ValidatingAdmissionPolicyBinding(
        name,
        metadata=stack_ctx.cluster_metadata(name),
        spec=binding,
        opts=stack_ctx.opts([policy]),
    )
