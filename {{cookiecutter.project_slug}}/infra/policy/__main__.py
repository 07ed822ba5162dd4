"""Which rules there are: a table of contents. Every preview and deploy asks them before it makes a resource.

A rule's module says what it refuses. To add one, write a function from a resource to violations and list it here;
a policy written with `pulumi_policy` itself may stand in the list of `make_policies` as well.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # Pulumi runs this file from its own folder

from pulumi_policy import EnforcementLevel, Policy, PolicyPack
from slipway.policy import PolicyContext, Rule

from infra.policy import exposure, images, limits, privileges

PACK_NAME = "rules"
RULES = (
    Rule("digest-only", "Every image that runs is named by its digest.", images.check_digests),
    Rule(
        "released-only",
        "A protected stack builds nothing and runs only what has passed the gate.",
        images.check_released,
    ),
    Rule("nothing-privileged", "No container has more rights than a process of its own.", privileges.check_privileges),
    Rule("limits-set", "Every container has a limit of memory and of processor time.", limits.check_limits),
    Rule("exposed-by-route", "A service is reached from outside by its route only.", exposure.check_exposure),
)


def make_policies(context: PolicyContext | None = None) -> list[Policy]:
    """Return the rules as Pulumi's policies; each of them refuses. Without a `context` the files are asked."""
    context = context or PolicyContext(Path(__file__).resolve().parents[2])
    return [rule.to_pulumi_policy(context, EnforcementLevel.MANDATORY) for rule in RULES]


if __name__ == "__main__":
    PolicyPack(PACK_NAME, make_policies())
