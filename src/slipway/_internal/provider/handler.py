"""The interface of a resource type, in plain values; the gRPC side is in servicer.py."""

# ruff: noqa: ARG002 - not every handler needs every argument

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from slipway._internal.provider.values import UNKNOWN, Props, contains_secret, unwrap_secrets
from slipway._internal.rollout.cancellation import CancellationToken


@dataclass(frozen=True)
class CheckedInputs:
    """Inputs with their defaults, and their failures: property and reason."""

    inputs: Props
    failures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ResourceState:
    """A resource as in Pulumi's state: with secrets unwrapped, and the `outputs` that this provider last returned."""

    urn: str
    id: str
    inputs: Props
    outputs: Props


@dataclass(frozen=True)
class Diff:
    """The properties that change, and those among them that require a replacement."""

    changed: Collection[str] = ()
    replaces: Collection[str] = ()
    delete_before_replace: bool = False


@dataclass(frozen=True)
class ActualState:
    """A resource as it actually is: its id (empty: it is gone) and outputs."""

    id: str
    outputs: Props = field(default_factory=dict)


class ResourceHandler(ABC):
    """One resource type. Methods may block: each call has its own thread.

    `required`, `defaults`, `optional` and `secret` name all inputs; only secret ones may contain secrets.
    `computed` names the outputs that are known only after a deployment.
    """

    required: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Mapping[str, Any]] = {}
    optional: ClassVar[tuple[str, ...]] = ()
    secret: ClassVar[tuple[str, ...]] = ()
    computed: ClassVar[tuple[str, ...]] = ()

    def check(self, news: Props) -> CheckedInputs:
        """Fill in defaults, and find missing inputs, unsupported inputs, and secrets in readable inputs."""
        inputs = {**self.defaults, **{key: value for key, value in news.items() if value is not None}}
        failures = [(key, "is required") for key in self.required if key not in inputs]
        known = {*self.required, *self.defaults, *self.optional, *self.secret}
        for key, value in inputs.items():
            if key not in known and not key.startswith("__"):
                failures.append((key, f"is not an input of this resource; it has {', '.join(sorted(known))}"))
            elif key not in self.secret and contains_secret(value):
                failures.append((key, "contains a secret that anyone could read there; use `secrets`"))
        return CheckedInputs(inputs, tuple(failures or self.validate_inputs(unwrap_secrets(inputs))))

    def validate_inputs(self, inputs: Props) -> list[tuple[str, str]]:
        """Return the problems of single values; any of them may be UNKNOWN."""
        return []

    def validate_change(self, olds: Props, news: Props) -> list[tuple[str, str]]:
        """Return the problems of a change from the old inputs to the new; `olds` is empty at the first deployment."""
        return []

    def preview_outputs(self, inputs: Props) -> Props:
        """Return the expected outputs, without contacting the engine."""
        return {**self.public_inputs(inputs), **dict.fromkeys(self.computed, UNKNOWN)}

    def public_inputs(self, inputs: Props) -> Props:
        """Return the inputs that may be repeated in the outputs."""
        return {key: value for key, value in inputs.items() if key not in self.secret and not key.startswith("__")}

    def unchanged_outputs(self, old: ResourceState) -> Props:
        """Return the computed outputs that an update does not change."""
        return {key: old.outputs[key] for key in self.computed if key in old.outputs}

    @abstractmethod
    def diff(self, old: ResourceState, news: Props) -> Diff:
        """Compare the state, the new inputs and what actually exists."""

    @abstractmethod
    def create(self, urn: str, inputs: Props, cancellation: CancellationToken) -> ActualState:
        """Create the resource; on any error, leave nothing behind."""

    def update(self, old: ResourceState, news: Props, cancellation: CancellationToken) -> Props:
        """Change the resource in place and return its outputs."""
        return {**old.outputs, **self.public_inputs(news)}

    def read(self, old: ResourceState) -> ActualState:
        """Return the resource as it actually is."""
        return ActualState(old.id, old.outputs)

    def delete(self, old: ResourceState, cancellation: CancellationToken) -> None:  # noqa: B027 - some types have nothing to remove
        """Remove the resource, if it still exists."""


def changed_keys(olds: Props, news: Props, keys: Collection[str] | None = None) -> list[str]:
    """Return the names of properties that differ (only among `keys`, if given)."""
    names = sorted({*olds, *news} if keys is None else keys)
    return [name for name in names if not name.startswith("__") and olds.get(name) != news.get(name)]
