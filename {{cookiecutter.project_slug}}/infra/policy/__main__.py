"""Which rules there are: a table of contents. Every preview and deploy asks them before it makes a resource.

A rule's module says what it refuses. To add one, write a function from a resource to violations and list it here;
a policy written with `pulumi_policy` itself may stand in the list of `policies` as well.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # Pulumi runs this file from its own folder

from pulumi_policy import EnforcementLevel, Policy, PolicyPack

from infra.policy import exposure, images, limits, privileges
from infra.policy.rule import Place, Rule

NAME = "rules"
RULES = (
    Rule("digest-only", "Every image that runs is named by its digest.", images.by_digest),
    Rule("released-only", "A protected stack builds nothing and runs only what has passed the gate.", images.released),
    Rule("nothing-privileged", "No container has more rights than a process of its own.", privileges.none),
    Rule("limits-set", "Every container has a limit of memory and of processor time.", limits.set_),
    Rule("exposed-by-route", "A service is reached from outside by its route only.", exposure.by_route),
)


def policies(place: Place | None = None) -> list[Policy]:
    """Return the rules as Pulumi's policies; each of them refuses. Without a `place` the files are asked."""
    place = place or Place()
    return [rule.policy(place, EnforcementLevel.MANDATORY) for rule in RULES]


if __name__ == "__main__":
    PolicyPack(NAME, policies())
