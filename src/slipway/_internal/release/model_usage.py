"""Asks a gateway for language models what it has counted: by its own program, in its container."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import Workspace
from slipway._internal.release.commands import exec_command

KIND = "ai-gateway"
COLUMNS = ("day", "tenant", "service", "model", "prompt")
"""What usage may be added up by."""


def usage_command(form: str, by: str = "", first: str = "", last: str = "") -> list[str]:
    """Return the command that prints the usage; it is the same in every container of the kind.

    Args:
        form: table, json or csv.
        by: columns to add up by, with commas between them.
        first: the first day, as YYYY-MM-DD; empty for the gateway's own default.
        last: the last day, likewise.

    Raises:
        ConfigError: a day is none, or there is no such column.
    """
    columns = [word.strip() for word in by.split(",") if word.strip()]
    if unknown := sorted(set(columns) - set(COLUMNS)):
        raise ConfigError(f"--by has no {', '.join(unknown)}", remedy=f"Use {', '.join(COLUMNS)}.")
    command = ["python", "-m", "app.usage", f"--{form}"]
    if columns:
        command.append(f"--by={','.join(columns)}")
    for name, day in (("from", first), ("to", last)):
        if day:
            try:
                date.fromisoformat(day)
            except ValueError as error:
                raise ConfigError(f"--{name} {day!r} is not a day", remedy="Write it as 2026-12-31.") from error
            command.append(f"--{name}={day}")
    return command


def show_usage(workspace: Workspace, stack: str, service: str | None, command: Sequence[str]) -> int:
    """Run the command in the gateway's container, joined to the standard streams; return its exit status.

    Raises:
        ConfigError: there is no such gateway, or several and none was named.
        SlipwayError: the place where it runs does not answer.
    """
    return exec_command(workspace, stack, gateway_name(workspace, service), command)


def gateway_name(workspace: Workspace, service: str | None) -> str:
    """Return the name of the service that is the gateway.

    Raises:
        ConfigError: there is none, or several and none was named.
    """
    names = [each.name for each in workspace.services if each.settings.kind == KIND]
    if service is not None:
        if service not in names:
            workspace.service(service)
            raise ConfigError(f"{service} is no {KIND}", remedy=f"Name one of: {', '.join(names) or 'there is none'}.")
        return service
    if not names:
        raise ConfigError(f"no service is of kind {KIND}", remedy=f"Add one: invoke new ai --kind {KIND}")
    if len(names) > 1:
        raise ConfigError("there are several gateways for language models", remedy=f"--service {' | '.join(names)}")
    return names[0]
