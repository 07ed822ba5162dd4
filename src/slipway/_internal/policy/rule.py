"""What a rule is: a function from a resource to what is wrong with it, and how Pulumi is given one."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pulumi_policy import EnforcementLevel, ReportViolation, ResourceValidationArgs, ResourceValidationPolicy
from pulumi_policy.proxy import UnknownValueError

from slipway._internal.model import lock
from slipway._internal.model import stack as stacks
from slipway._internal.model import workspace as workspaces
from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.model.lock import all_entries
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.run.policy import ViolationText


class PolicyContext:
    """Where resources are judged: the workspace and its stacks, each read once and only when a rule asks for it.

    Args:
        root: the workspace's folder.
        inputs: what a deploy by Invoke has read and proven. Without it, as in `pulumi up`, the files are asked.
        previous_images: images that ran before and go back in the place of those that do not start.
    """

    def __init__(
        self, root: Path, inputs: DeployInputs | None = None, previous_images: Collection[str] = frozenset()
    ) -> None:
        self._root = root
        self._inputs = inputs
        self._previous_images = previous_images
        self._stacks: dict[str, Stack] = {inputs.stack.name: inputs.stack} if inputs else {}
        self._released_images: dict[str, frozenset[str]] = {}

    @cached_property
    def workspace(self) -> Workspace:
        return self._inputs.workspace if self._inputs else workspaces.load_workspace(self._root)

    def stack(self, name: str) -> Stack:
        """Return a stack's settings."""
        if name not in self._stacks:
            self._stacks[name] = stacks.load(self._root, name, os.environ)
        return self._stacks[name]

    def released_images(self, name: str) -> frozenset[str]:
        """Return the images that a protected stack may run: those of its lock."""
        if name not in self._released_images:
            if self._inputs and self._inputs.stack.name == name:
                found = self._inputs.released_images
            else:
                found = frozenset(entry.ref for entry in all_entries(lock.load(self._root, name)).values())
            self._released_images[name] = found | frozenset(self._previous_images)
        return self._released_images[name]


@dataclass(frozen=True)
class Resource:
    """A resource that Pulumi is about to make or to keep.

    `kind` is its type as Pulumi writes it, `props` are its inputs: to read one that a preview does not know yet raises
    UnknownValueError, and the rule is asked again by the deploy.
    """

    kind: str
    name: str
    stack_name: str
    props: Mapping[str, Any]
    context: PolicyContext

    @property
    def workspace(self) -> Workspace:
        return self.context.workspace

    @property
    def stack(self) -> Stack:
        return self.context.stack(self.stack_name)

    @property
    def released_images(self) -> frozenset[str]:
        """The images that the stack may run where it is protected."""
        return self.context.released_images(self.stack_name)

    def service(self, name: object) -> Service | None:
        """Return a service of the workspace, or None where it has none of that name."""
        return next((service for service in self.workspace.services if service.name == name), None)


@dataclass(frozen=True)
class Violation:
    """What is wrong with a resource, and what to do about it, naming file and key."""

    message: str
    remedy: str


RuleCheck = Callable[[Resource], Iterable[Violation]]


@dataclass(frozen=True)
class Rule:
    """A rule: its name, what it wants in a sentence, and the function that finds what is against it."""

    name: str
    description: str
    check: RuleCheck

    def to_pulumi_policy(self, context: PolicyContext, level: EnforcementLevel) -> ResourceValidationPolicy:
        """Return the rule as Pulumi's policy."""

        def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
            stack_name = args.urn.split("::")[0].rsplit(":", 1)[-1]
            for found in until_unknown(
                self.check(Resource(args.resource_type, args.name, stack_name, args.props, context))
            ):
                report(ViolationText(found.message, found.remedy), None)

        return ResourceValidationPolicy(self.name, self.description, validate, enforcement_level=level)


def until_unknown(found: Iterable[Violation]) -> Iterator[Violation]:
    """Yield what is found up to a value that nobody knows yet."""
    with suppress(UnknownValueError):
        yield from found


def where_declared(name: str) -> str:
    """Return the words for the place in infra/ that declares a resource which no file of a service describes."""
    return f"where infra/ declares `{name}`"
