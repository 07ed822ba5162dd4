"""`slipway:index:Protection`: whether the stack was protected when it was last deployed, kept in its state.

A stack's file can be emptied, replaced or taken from another branch. Protection is lifted only on request, whichever
command deploys the stack, `pulumi up` included.
"""

# ruff: noqa: ARG002 - not every handler needs every argument

from __future__ import annotations

import os
from collections.abc import Callable

from slipway._internal.model.stack import UNPROTECT_VARIABLE, lost_protection_error
from slipway._internal.provider.handler import ActualState, Diff, ResourceHandler, ResourceState, changed_keys
from slipway._internal.provider.values import Props
from slipway._internal.rollout.cancellation import CancellationToken


class ProtectionHandler(ResourceHandler):
    """Whether a stack is protected; lifting the protection needs the environment variable UNPROTECT_VARIABLE."""

    required = ("stack", "protected")

    def __init__(self, lifted_stack: Callable[[], str] = str) -> None:
        """Take a function that returns the stack whose protection this process' deploy may lift; empty for none."""
        self._lifted_stack = lifted_stack

    def validate_change(self, olds: Props, news: Props) -> list[tuple[str, str]]:
        if olds.get("protected") is not True or news.get("protected") is True:
            return []
        if news.get("stack") in (self._lifted_stack(), os.environ.get(UNPROTECT_VARIABLE)):
            return []
        problem = lost_protection_error(str(news.get("stack")))
        return [("protected", f"{problem.message}. {problem.remedy}")]

    def diff(self, old: ResourceState, news: Props) -> Diff:
        return Diff(changed_keys(old.inputs, news))

    def create(self, urn: str, inputs: Props, cancellation: CancellationToken) -> ActualState:
        return ActualState("protection", self.public_inputs(inputs))
