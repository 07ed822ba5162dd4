"""What every kind of resource offers to Pulumi, in plain values; the gRPC side is in service.py."""

# ruff: noqa: ARG002 - not every kind needs all that it is told

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from slipway._internal.provider.values import UNKNOWN, Props, contains_secret, unwrap_secrets
from slipway._internal.rollout.cancellation import CancellationToken


@dataclass(frozen=True)
class CheckedInputs:
    """Inputs with their defaults, and what is wrong with them: property and reason."""

    inputs: Props
    failures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ResourceState:
    """A resource as Pulumi's state has it: secrets unwrapped, `outputs` as this provider last gave them."""

    urn: str
    id: str
    inputs: Props
    outputs: Props


@dataclass(frozen=True)
class Diff:
    """What would happen: properties that change, and those among them that ask for a replacement."""

    changed: Collection[str] = ()
    replaces: Collection[str] = ()
    delete_before_replace: bool = False


@dataclass(frozen=True)
class ActualState:
    """A resource as it really is: its id (empty: it is gone) and outputs."""

    id: str
    outputs: Props = field(default_factory=dict)


class ResourceHandler(ABC):
    """One kind of resource. Methods may block: each call has a thread of its own.

    `required`, `defaults`, `optional` and `secret` name all inputs; only a secret one may hold secrets.
    `computed` are the outputs that a deployment finds out.
    """

    required: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Mapping[str, Any]] = {}
    optional: ClassVar[tuple[str, ...]] = ()
    secret: ClassVar[tuple[str, ...]] = ()
    computed: ClassVar[tuple[str, ...]] = ()

    def check(self, news: Props) -> CheckedInputs:
        """Fill in defaults and find what is missing, unknown here, or secret where all can read it."""
        inputs = {**self.defaults, **{key: value for key, value in news.items() if value is not None}}
        failures = [(key, "is required") for key in self.required if key not in inputs]
        known = {*self.required, *self.defaults, *self.optional, *self.secret}
        for key, value in inputs.items():
            if key not in known and not key.startswith("__"):
                failures.append((key, f"is not an input of this resource; it has {', '.join(sorted(known))}"))
            elif key not in self.secret and contains_secret(value):
                failures.append((key, "holds a secret that all could read there; use `secrets`"))
        return CheckedInputs(inputs, tuple(failures or self.validate_inputs(unwrap_secrets(inputs))))

    def validate_inputs(self, inputs: Props) -> list[tuple[str, str]]:
        """Return what is wrong with single values; any of them may be UNKNOWN."""
        return []

    def validate_change(self, olds: Props, news: Props) -> list[tuple[str, str]]:
        """Return what speaks against the new inputs where the old ones were those; none at the first deployment."""
        return []

    def preview_outputs(self, inputs: Props) -> Props:
        """Return the outputs to expect, without touching the engine."""
        return {**self.public_inputs(inputs), **dict.fromkeys(self.computed, UNKNOWN)}

    def public_inputs(self, inputs: Props) -> Props:
        """Return the inputs that may stand among the outputs."""
        return {key: value for key, value in inputs.items() if key not in self.secret and not key.startswith("__")}

    def unchanged_outputs(self, old: ResourceState) -> Props:
        """Return the computed outputs that an update leaves as they are."""
        return {key: old.outputs[key] for key in self.computed if key in old.outputs}

    @abstractmethod
    def diff(self, old: ResourceState, news: Props) -> Diff:
        """Compare state, wish and reality."""

    @abstractmethod
    def create(self, urn: str, inputs: Props, cancellation: CancellationToken) -> ActualState:
        """Make it; on any error nothing of it stays behind."""

    def update(self, old: ResourceState, news: Props, cancellation: CancellationToken) -> Props:
        """Change it in place and return its outputs."""
        return {**old.outputs, **self.public_inputs(news)}

    def read(self, old: ResourceState) -> ActualState:
        """Look at it as it really is."""
        return ActualState(old.id, old.outputs)

    def delete(self, old: ResourceState, cancellation: CancellationToken) -> None:  # noqa: B027 - most but not all kinds have something to remove
        """Remove it; gone already is fine."""


def changed_keys(olds: Props, news: Props, keys: Collection[str] | None = None) -> list[str]:
    """Return the names of properties that differ (among `keys` where given)."""
    names = sorted({*olds, *news} if keys is None else keys)
    return [name for name in names if not name.startswith("__") and olds.get(name) != news.get(name)]
