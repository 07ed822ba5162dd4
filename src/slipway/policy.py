"""What the rules in a workspace's infra/policy/ are made of: a resource that is judged, what is wrong with it, a rule.

A rule's check is a function from a `Resource` to `Violation`s. Importing this costs what `pulumi_policy` costs.
"""

from __future__ import annotations

from slipway._internal.model.addresses import BIND_REMEDY, bind_problem
from slipway._internal.policy.pods import (
    POD_TEMPLATE_PATHS,
    Props,
    child_mapping,
    containers,
    describe_location,
    pod_spec,
)
from slipway._internal.policy.rule import PolicyContext, Resource, Rule, RuleCheck, Violation, where_declared

__all__ = [
    "BIND_REMEDY",
    "POD_TEMPLATE_PATHS",
    "PolicyContext",
    "Props",
    "Resource",
    "Rule",
    "RuleCheck",
    "Violation",
    "bind_problem",
    "child_mapping",
    "containers",
    "describe_location",
    "pod_spec",
    "where_declared",
]
