"""The keys of a stack's consumers, in its encrypted configuration: added, rotated, removed; a deploy takes them up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.context.workspace_lock import workspace_lock
from slipway._internal.model.consumer_keys import (
    MAX_KEYS,
    ConsumerKey,
    hash_key,
    keys_as_text,
    new_key,
    parse_keys,
    setting_of,
)
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.stack import Stack
from slipway._internal.run.stack_config import read_setting, remove_setting, write_secret


@dataclass(frozen=True)
class ConsumerRow:
    """A consumer of a stack, without its keys."""

    name: str
    groups: tuple[str, ...]
    made: tuple[datetime, ...]

    def as_dict(self) -> dict[str, object]:
        """Return it for JSON."""
        return {"name": self.name, "groups": list(self.groups), "keys": [time.isoformat() for time in self.made]}

    @property
    def cells(self) -> tuple[str, str, str]:
        """Return its row in a table of consumer, groups, keys."""
        times = [time.astimezone().strftime("%Y-%m-%d %H:%M") for time in self.made]
        return self.name, ", ".join(self.groups) or "none", ", ".join(times) or "none in this stack"


def list_consumers(context: RunContext, stack: Stack) -> list[ConsumerRow]:
    """Return the consumers of workspace.toml, and when their keys in this stack were made."""
    named = sorted(context.workspace.settings.consumers.items())
    return [
        ConsumerRow(name, settings.groups, tuple(key.made for key in _read(context, stack, name)))
        for name, settings in named
    ]


def add_key(context: RunContext, stack: Stack, name: str) -> str:
    """Make a consumer's first key in a stack, and return it: it is kept nowhere.

    Raises:
        ConfigError: workspace.toml does not have the consumer, it has a key already, or the stack's gateway takes none.
    """
    _require_consumer(context, stack, name)
    with workspace_lock(context.workspace, NullReporter()):
        if _read(context, stack, name):
            raise ConfigError(
                f"{name} has a key in {stack.name} already, which is kept nowhere and cannot be shown again",
                remedy=f"`invoke consumer rotate {name} --stack {stack.name}` makes the next one; both are taken then.",
            )
        return _write_next(context, stack, name, ())


def rotate_key(context: RunContext, stack: Stack, name: str) -> str:
    """Make a consumer's next key in a stack, and return it; the one before is taken, too.

    Raises:
        ConfigError: there is none before it, an earlier rotation is not finished, or the stack's gateway takes none.
    """
    _require_consumer(context, stack, name)
    with workspace_lock(context.workspace, NullReporter()):
        keys = _require_keys(context, stack, name)
        if len(keys) == MAX_KEYS:
            raise ConfigError(
                f"{name} has two keys in {stack.name}: a rotation is under way",
                remedy=f"`invoke consumer rotate {name} --finish --stack {stack.name}` ends it: the older key goes.",
            )
        return _write_next(context, stack, name, keys)


def finish_rotation(context: RunContext, stack: Stack, name: str) -> None:
    """Keep only a consumer's newest key in a stack.

    Raises:
        ConfigError: there is only one.
    """
    with workspace_lock(context.workspace, NullReporter()):
        keys = _require_keys(context, stack, name)
        if len(keys) == 1:
            raise ConfigError(
                f"{name} has one key in {stack.name}: no rotation is under way",
                remedy=f"`invoke consumer rotate {name} --stack {stack.name}` begins one.",
            )
        _write(context, stack, name, keys[-1:])


def remove_keys(context: RunContext, stack: Stack, name: str) -> None:
    """Remove all of a consumer's keys in a stack; workspace.toml need not have it any more.

    Raises:
        ConfigError: there are none.
    """
    with workspace_lock(context.workspace, NullReporter()):
        if _read_text(context, stack, name) is None:
            raise _no_key(stack, name)
        pulumi, project = context.bin / "pulumi", context.workspace.project
        remove_setting(pulumi, project, stack.name, setting_of(name), context.environment)


def _require_consumer(context: RunContext, stack: Stack, name: str) -> None:
    if stack.target != "docker":
        raise ConfigError(
            f"{stack.file}: the target of {stack.name} is {stack.target}, whose gateway takes no keys",
            remedy="Keys are for stacks with slipway:target docker.",
        )
    consumers = context.workspace.settings.consumers
    if name not in consumers:
        raise ConfigError(
            f"workspace.toml has no consumer {name!r:.80}",
            remedy=f"Add [consumers.{name}] to it. There are: {', '.join(sorted(consumers)) or 'none yet'}.",
        )


def _require_keys(context: RunContext, stack: Stack, name: str) -> tuple[ConsumerKey, ...]:
    keys = _read(context, stack, name)
    if not keys:
        raise _no_key(stack, name)
    return keys


def _no_key(stack: Stack, name: str) -> ConfigError:
    return ConfigError(
        f"{name!r:.80} has no key in {stack.name}",
        remedy=f"`invoke consumer add {name} --stack {stack.name}` makes one; `consumer list` shows all.",
    )


def _read(context: RunContext, stack: Stack, name: str) -> tuple[ConsumerKey, ...]:
    return parse_keys(_read_text(context, stack, name), f"{stack.file}: `{setting_of(name)}`")


def _read_text(context: RunContext, stack: Stack, name: str) -> str | None:
    pulumi, project = context.bin / "pulumi", context.workspace.project
    return read_setting(pulumi, project, stack.name, setting_of(name), context.environment)


def _write_next(context: RunContext, stack: Stack, name: str, keys: Sequence[ConsumerKey]) -> str:
    key = new_key()
    made = datetime.now(UTC).replace(microsecond=0)
    _write(context, stack, name, [*keys, ConsumerKey(hash_key(key), made)])
    return key


def _write(context: RunContext, stack: Stack, name: str, keys: Sequence[ConsumerKey]) -> None:
    pulumi, project = context.bin / "pulumi", context.workspace.project
    write_secret(pulumi, project, stack.name, setting_of(name), keys_as_text(keys), context.environment)
