"""Adopts what a user names: plans it, shows it, and writes all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slipway._internal.adopt import staging
from slipway._internal.adopt.compose import plan_compose
from slipway._internal.adopt.compose_reader import read_compose
from slipway._internal.adopt.folder import plan_folder
from slipway._internal.adopt.pins import Pins, open_pins
from slipway._internal.adopt.plan import Plan
from slipway._internal.adopt.source import Source, open_source
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import Workspace
from slipway._internal.toolchain.install import ensure_tool


@dataclass(frozen=True)
class Request:
    """What a user asks for; the fields are the verb's flags."""

    path: str
    name: str | None = None
    ref: str | None = None
    route: str | None = None
    pin: Path | None = None
    skip: frozenset[str] = frozenset()
    move: bool = False
    offline: bool = False


@dataclass(frozen=True)
class Adoption:
    """A plan that is staged and can be written."""

    plan: Plan
    write: Callable[[], list[Path]]


@contextmanager
def plan_adoption(workspace: Workspace, request: Request, on_line: Callable[[str], None]) -> Iterator[Adoption]:
    """Yield what adopting would write, for the time of a `with`.

    Args:
        workspace: where the services are to be.
        request: what is asked for.
        on_line: told what takes long, a line at a time.

    Raises:
        ConfigError: it cannot be adopted.
        SlipwayError: a repository or Docker Compose cannot be had.
    """
    pins = open_pins(workspace, request.pin, offline=request.offline)
    with open_source(workspace, request.path, request.ref) as source:
        _refuse_odd_flags(request, source)
        plan = _plan(workspace, request, source, pins, on_line)
        if not plan.drafts:
            reasons = "\n".join(
                f"{row.where}: {row.service}: {row.why}" for row in plan.rows if row.fate != "kept otherwise"
            )
            remedy = next((row.instead for row in plan.rows if row.instead), "Name another one.")
            raise ConfigError(f"{plan.source}: no service of it can be adopted", remedy=remedy, detail=reasons)
        if plan.refusals():
            yield Adoption(plan, lambda: _refuse(plan))
            return
        with staging.staged(workspace, plan) as folder:
            yield Adoption(plan, lambda: _write(workspace, plan, folder, move=request.move))


def _plan(workspace: Workspace, request: Request, source: Source, pins: Pins, on_line: Callable[[str], None]) -> Plan:
    if source.compose is None:
        return plan_folder(workspace, source.folder, pins, name=request.name, given=source.given, route=request.route)
    compose = read_compose(source.compose, ensure_tool("compose", on_line=on_line))
    return plan_compose(workspace, compose, pins, route=request.route, skip=request.skip)


def _refuse_odd_flags(request: Request, source: Source) -> None:
    if request.move and (source.is_clone or source.compose):
        what = "a clone" if source.is_clone else "a Compose file, whose services may share folders"
        raise ConfigError(f"--move is for a folder, not for {what}", remedy="Leave --move out.")
    if request.name and source.compose:
        raise ConfigError("--name is for one service", remedy="The services of a Compose file keep their names.")
    if request.skip and not source.compose:
        raise ConfigError("--skip is for a Compose file's services", remedy="Leave --skip out.")


def _refuse(plan: Plan) -> list[Path]:
    raise refusal(plan)


def refusal(plan: Plan) -> ConfigError:
    """Return the error that names why a plan is not written."""
    rows = plan.refusals()
    names = ",".join(dict.fromkeys(row.service for row in rows))
    return ConfigError(
        f"{rows[0].where}: {rows[0].service}: `{rows[0].key}`: {rows[0].why}; nothing was written",
        remedy=rows[0].instead or f"--skip {names}",
        detail="\n".join(f"{row.where}: {row.service}: `{row.key}`: {row.why}" for row in rows[1:]),
    )


def _write(workspace: Workspace, plan: Plan, folder: Path, *, move: bool) -> list[Path]:
    written = staging.install(workspace, plan, folder)
    if move:
        staging.remove_originals(plan)
    return written
