"""The verb that updates the template and the engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from invoke.context import Context

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import verb

if TYPE_CHECKING:
    from slipway._internal.scaffold.update import VersionGap
    from slipway._internal.scaffold.update_apply import UpdatePlan


@verb(
    iterable=["answer"],
    help={
        "to": "A version (tag, branch or commit), or another git repository of the template: a URL or path, "
        "with #VERSION for one of its versions. Default: the newest version.",
        "from": "The version that this workspace was made from, if nothing records it.",
        "answer": "Answer a question of the template: --answer ci=gitlab. May be repeated.",
        "check": "For CI: change nothing; exit code 1 if there is a newer version, 0 if not.",
        "dry": "Change nothing; list the files that would be added, changed, deleted or in conflict.",
        "json": "Print what was found or done as JSON; --check and --dry take it, too.",
        "yes": "Do not ask before running the code of a template that this workspace does not come from.",
    },
)
def update(
    context: Context,
    to: str | None = None,
    from_: str | None = None,
    answer: Iterable[str] | None = None,
    check: bool = False,
    dry: bool = False,
    json: bool = False,
    yes: bool = False,
) -> None:
    """Merge a newer version of the template, and its engine, into this workspace.

    Slipway renders the template twice with the workspace's answers, as it was and as it is now, and
    merges the difference into your files as git merges a branch. Services that you added and files
    that you deleted stay as they are. Where you and the template changed the same lines, the file
    gets conflict markers and the exit code is 1. Nothing is committed: look at it, undo it with the
    command that is printed at the end, or commit it.
    """
    from slipway._internal.scaffold import update as updates
    from slipway._internal.scaffold.update_plan import UpdateRequest, parse_answers
    from slipway._internal.tasks import show

    root = workspace_root()
    request = UpdateRequest(to, from_, parse_answers(answer or ()))
    tell = show.plain_note if json else show.plain
    if check:
        return _tell_standing(updates.check_update(root, request, tell), json)
    work = updates.preview_update if dry else updates.update_workspace
    found = work(root, request, tell, show.consent(yes))
    if json:
        show.as_json(_plan_as_dict(found))
    elif found:
        _tell_changes(found)
    else:
        _tell_up_to_date()
    if found:
        _refuse_conflicts(found, dry)
    if found and not json:
        _tell_end(found, dry)
    return None


def _tell_standing(behind: VersionGap | None, json: bool) -> None:
    """Say how far the workspace is behind, and end with exit code 1 when it is."""
    from invoke.exceptions import Exit

    from slipway._internal.tasks import show

    if json:
        show.as_json(
            {
                "behind": behind is not None,
                "from": behind.old if behind else None,
                "to": behind.new if behind else None,
                "commits": behind.commits if behind else 0,
            }
        )
    elif behind is None:
        _tell_up_to_date()
    else:
        count = f"{behind.commits} commit{'s' if behind.commits != 1 else ''}"
        show.plain(f"✘ The template is at {behind.new}, this workspace at {behind.old}: {count} behind.")
        show.plain("  remedy  invoke update")
    if behind:
        raise Exit(code=1)


def _tell_up_to_date() -> None:
    from slipway._internal.tasks import show

    show.say("[green]✔[/] The workspace is up to date with its template.")


def _plan_as_dict(found: UpdatePlan | None) -> dict[str, object]:
    """Return an update as programs read it; the version of a workspace that is up to date is null."""
    return {
        "version": found.version if found else None,
        "changes": [{"path": change.path, "kind": change.kind} for change in found.changes] if found else [],
        "conflicts": found.conflicts if found else [],
        "notes": found.notes if found else [],
        "news": found.news if found else [],
    }


def _tell_changes(found: UpdatePlan) -> None:
    """Say what is new in the template, and what becomes of each file."""
    from slipway._internal.scaffold.changelog import shorten_lines
    from slipway._internal.scaffold.update_apply import change_rows
    from slipway._internal.tasks import show

    if found.news:
        show.plain(f"New in {found.version}:")
        for line in shorten_lines(found.news):
            show.plain(f"  {line}")
    show.table(("", "file"), change_rows(found.changes))
    for note in found.notes:
        show.warn(note)


def _refuse_conflicts(found: UpdatePlan, dry: bool) -> None:
    """End with exit code 1 where the team and the template changed the same.

    Raises:
        SlipwayError: it names the files, and what is to be done about each.
    """
    from slipway._internal.model.errors import SlipwayError
    from slipway._internal.scaffold.update_apply import undo_command

    count = len(found.conflicts)
    if not count:
        return
    files = f"{count} files" if count > 1 else "1 file"
    detail = "\n".join(found.conflicts)
    if dry:
        remedy = "`invoke update` marks them in the files."
        raise SlipwayError(f"{files} would be in conflict; nothing was done", detail=detail, remedy=remedy)
    undo = undo_command(workspace_root())
    raise SlipwayError(
        f"{files} in conflict, the rest is at {found.version}",
        detail=detail,
        remedy=f"Resolve each, `git add` it, run `invoke doctor` and commit. To undo all of it: {undo}",
    )


def _tell_end(found: UpdatePlan, dry: bool) -> None:
    """Say how to look at an update, undo it and go on; or that nothing was done."""
    from slipway._internal.scaffold.update_apply import undo_command
    from slipway._internal.tasks import show

    if dry:
        return show.plain("Nothing was done.")
    show.say(f"[green]✔[/] The workspace is at {found.version}. Nothing is committed.")
    show.plain("  look    git diff --staged")
    show.plain(f"  undo    {undo_command(workspace_root())}")
    return show.plain(f'  go on   invoke doctor && git commit -m "Template {found.version}"')
