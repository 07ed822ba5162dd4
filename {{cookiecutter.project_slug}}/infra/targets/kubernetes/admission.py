"""What the cluster itself lets run in the stack's namespace: images of this stack's registries, by digest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pulumi
from pulumi_kubernetes.admissionregistration.v1 import ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding
from slipway.commands import admission

from infra.targets.kubernetes.place import Place


def rules(place: Place) -> Iterator[pulumi.Resource]:
    """Declare the admission policy and its binding, unless somebody else applies it (`slipway:admission`)."""
    if not place.stack.admission:
        return
    name = admission.images_name(place.namespace)
    allowed: Any = admission.images_policy(admission.prefixes(place.workspace, place.stack))
    bound: Any = admission.images_binding(place.namespace)
    policy = ValidatingAdmissionPolicy(name, metadata=place.of_cluster(name), spec=allowed, opts=place.opts())
    yield policy
    yield ValidatingAdmissionPolicyBinding(
        name,
        metadata=place.of_cluster(name),
        spec=bound,
        opts=place.opts([policy]),
    )
