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
from slipway.model import lock
from slipway.model import stack as stacks
from slipway.model import workspace as workspaces
from slipway.model.inputs import DeployInputs
from slipway.model.lock import all_entries
from slipway.model.stack import Stack
from slipway.model.workspace import Service, Workspace
from slipway.run.policy import REMEDY

ROOT = Path(__file__).resolve().parents[2]


class Place:
    """Where resources are judged: the workspace and its stacks, each read once and only when a rule asks for it.

    A deploy by Invoke gives what it has read and proven: `inputs`, and `also`, the images that ran before and go back
    in place of those that do not start. Without them, as in `pulumi up`, the files are asked.
    """

    def __init__(
        self, root: Path = ROOT, inputs: DeployInputs | None = None, also: Collection[str] = frozenset()
    ) -> None:
        self._root = root
        self._inputs = inputs
        self._also = also
        self._stacks: dict[str, Stack] = {inputs.stack.name: inputs.stack} if inputs else {}
        self._released: dict[str, frozenset[str]] = {}

    @cached_property
    def workspace(self) -> Workspace:
        return self._inputs.workspace if self._inputs else workspaces.load(self._root)

    def stack(self, name: str) -> Stack:
        """Return a stack's settings."""
        if name not in self._stacks:
            self._stacks[name] = stacks.load(self._root, name, os.environ)
        return self._stacks[name]

    def released(self, name: str) -> frozenset[str]:
        """Return the images that a protected stack may run: those of its lock."""
        if name not in self._released:
            if self._inputs and self._inputs.stack.name == name:
                found = self._inputs.released
            else:
                found = frozenset(entry.ref for entry in all_entries(lock.load(self._root, name)).values())
            self._released[name] = found | frozenset(self._also)
        return self._released[name]


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
    place: Place

    @property
    def workspace(self) -> Workspace:
        return self.place.workspace

    @property
    def stack(self) -> Stack:
        return self.place.stack(self.stack_name)

    @property
    def released(self) -> frozenset[str]:
        """The images that the stack may run where it is protected."""
        return self.place.released(self.stack_name)

    def service(self, name: object) -> Service | None:
        """Return a service of the workspace, or None where it has none of that name."""
        return next((service for service in self.workspace.services if service.name == name), None)


@dataclass(frozen=True)
class Violation:
    """What is wrong with a resource, and what to do about it, naming file and key."""

    what: str
    remedy: str


Check = Callable[[Resource], Iterable[Violation]]


@dataclass(frozen=True)
class Rule:
    """A rule: its name, what it wants in a sentence, and the function that finds what is against it."""

    name: str
    description: str
    check: Check

    def policy(self, place: Place, level: EnforcementLevel) -> ResourceValidationPolicy:
        """Return the rule as Pulumi's policy."""

        def validate(given: ResourceValidationArgs, report: ReportViolation) -> None:
            stack_name = given.urn.split("::")[0].rsplit(":", 1)[-1]
            for found in known(self.check(Resource(given.resource_type, given.name, stack_name, given.props, place))):
                report(f"{found.what}\n{REMEDY}{found.remedy}", None)

        return ResourceValidationPolicy(self.name, self.description, validate, enforcement_level=level)


def known(found: Iterable[Violation]) -> Iterator[Violation]:
    """Yield what is found up to a value that nobody knows yet."""
    with suppress(UnknownValueError):
        yield from found


def declared(name: str) -> str:
    """Return the words for the place in infra/ that declares a resource which no file of a service describes."""
    return f"where infra/ declares `{name}`"
