"""The verb that brings what exists into the workspace: adopt."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context

from slipway._internal.model.terminal_text import sanitize_line
from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import verb

if TYPE_CHECKING:
    from slipway._internal.adopt.plan import Draft, Plan

SHOWN_FIRST = ("refused", "to do", "not carried over", "kept otherwise", "carried over")


@verb(
    help={
        "path": "A folder, a Compose file, or a git URL, with #REF for a branch or tag.",
        "name": "The service's name. Default: the folder's.",
        "ref": "The branch or tag of a git URL.",
        "move": "Move the folder's files instead of copying them.",
        "route": "Where it gets requests. Default: / if that is free, else /NAME.",
        "skip": "Services of a Compose file to leave out, with commas between them.",
        "pin": "A file of images by digest, one a line, for images that are named without one.",
        "offline": "Ask no registry for digests.",
        "yes": "Do not ask before writing.",
        "dry": "Say what would be written, and write nothing.",
        "json": "Print the plan as JSON.",
    }
)
def adopt(
    context: Context,
    path: str,
    name: str | None = None,
    ref: str | None = None,
    route: str | None = None,
    skip: str | None = None,
    pin: str | None = None,
    move: bool = False,
    offline: bool = False,
    yes: bool = False,
    dry: bool = False,
    json: bool = False,
) -> None:
    """Make services of a folder, a git repository or a Compose file: invoke adopt ../shop.

    It shows what it would write and what it could not carry over, asks, and writes all of it or nothing.
    """
    from slipway._internal.adopt.adopt import Request, plan_adoption, refusal
    from slipway._internal.model.errors import ConfigError
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.tasks import show

    skipped = frozenset(word.strip() for word in (skip or "").split(",") if word.strip())
    request = Request(path, name, ref, route, Path(pin).expanduser() if pin else None, skipped, move, offline)
    with plan_adoption(load_workspace(workspace_root()), request, show.plain_note) as adoption:
        if not json:
            _show(adoption.plan)
        refused = bool(adoption.plan.refusals())
        written = False
        if not dry and not refused:
            if not show.consent(yes)(f"Write {_count(adoption.plan)}?"):
                raise ConfigError("nothing was written: nobody agreed", remedy="Add --yes.")
            adoption.write()
            written = True
        if json:
            show.as_json({**adoption.plan.as_dict(), "written": written})
        if refused:
            raise refusal(adoption.plan)
        if written and not json:
            _tell_end(adoption.plan)


def _count(plan: Plan) -> str:
    names = [f"services/{draft.name}" for draft in plan.drafts]
    return ", ".join(names)


def _show(plan: Plan) -> None:
    """Show the services, then what becomes of everything that was said of them, the worst first."""
    from rich.markup import escape

    from slipway._internal.tasks import show

    def table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
        show.table(columns, [tuple(escape(sanitize_line(cell)) for cell in row) for row in rows])

    table(("service", "from", "port", "route", "needs"), map(_service_row, plan.drafts))
    table(
        ("service", "what becomes of it", "key", "where", "why", "instead"),
        [
            (row.service, row.fate, row.key, _short(row.where, plan), row.why, row.instead)
            for row in sorted(plan.all_rows(), key=lambda row: SHOWN_FIRST.index(row.fate))
        ],
    )


def _service_row(draft: Draft) -> tuple[str, ...]:
    settings = draft.settings
    needs = ", ".join(settings.get("needs", ())) or "-"
    return draft.name, draft.source_name(), str(settings.get("port", "-")), draft.route or "-", needs


def _short(where: str, plan: Plan) -> str:
    """Return a place without the part of its path that all have."""
    folder = Path(plan.source).parent if Path(plan.source).suffix else Path(plan.source)
    return where.removeprefix(f"{folder}/")


def _tell_end(plan: Plan) -> None:
    from slipway._internal.tasks import show

    todo = sum(row.fate == "to do" for row in plan.all_rows())
    show.say(f"[green]✔[/] {_count(plan)} written.")
    if todo:
        show.plain(f"  {todo} of the lines above are to do.")
    if plan.commands and not (workspace_root() / ".venv" / "bin" / "pulumi").exists():
        show.plain("  invoke setup")  # it brings Pulumi, whose commands follow
    for command in plan.commands:
        show.plain(f"  {command}")
    show.say("Adopted. Next: [bold]invoke up[/]")
