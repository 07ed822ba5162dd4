"""Works out an update in a folder of its own: renders the old and the new template, merges, and says what is new."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.files import write_atomically
from slipway._internal.model.own_targets import shadowing_target_note, shadowing_targets
from slipway._internal.model.scratch import FOLDER_NAME as SCRATCH
from slipway._internal.scaffold import template_record
from slipway._internal.scaffold.changelog import new_entries
from slipway._internal.scaffold.package_lock import renew_lock, use_pin_of_template
from slipway._internal.scaffold.template_render import QUESTIONS, RenderedTemplate, read_questions, render_template
from slipway._internal.scaffold.template_repository import Tell, TemplateRepository, parse_template_ref
from slipway._internal.scaffold.tree_store import MergeResult, TreeStore
from slipway._internal.scaffold.update_apply import FileChange, UpdatePlan
from slipway._internal.scaffold.update_versions import (
    TemplateOrigin,
    UpdateVersions,
    find_versions,
    has_newer_version,
    read_template_origin,
)
from slipway._internal.scaffold.workspace_checkout import WorkspaceCheckout
from slipway._internal.scaffold.workspace_merge import ENGINE, MergeSides, describe_conflicts, merge_workspace

CHANGELOG = "CHANGELOG.md"
EDITS = "engine-changes.diff"
"""What somebody changed in the engine's sources, in the scratch folder: an update removes them."""
Confirm = Callable[[str], bool]


@dataclass(frozen=True)
class UpdateRequest:
    """What a user asks for: `--to`, `--from`, and answers to the template's questions."""

    to: str | None = None
    base: str | None = None
    answers: Mapping[str, str] = field(default_factory=dict)


def parse_answers(given: Iterable[str]) -> dict[str, str]:
    """Return answers by question: `ci=gitlab` each.

    Raises:
        ConfigError: one has no `=`.
    """
    found = {}
    for text in given:
        name, separator, answer = text.partition("=")
        if not separator:
            raise ConfigError(
                f"{text!r} is not an answer", remedy="Write the question and the answer: --answer ci=gitlab"
            )
        found[name] = answer
    return found


def prepare_update(
    checkout: WorkspaceCheckout, request: UpdateRequest, folder: Path, tell: Tell, confirm: Confirm, *, keep: bool
) -> UpdatePlan | None:
    """Return the update that was asked for; None where the workspace is up to date.

    Args:
        checkout: the workspace, which has no changes of its own.
        request: what is asked for.
        folder: a folder for all that is needed on the way.
        tell: told what takes time.
        confirm: asked before code of a template runs that the workspace does not come from.
        keep: the update will be made; else nothing is written outside the folder.

    Raises:
        SlipwayError: it cannot be made.
    """
    origin = read_template_origin(checkout.root)
    store = TreeStore(folder / "trees", checkout.objects, checkout.object_format, keep=keep)
    versions = locate_versions(checkout, origin, store, request, folder, tell)
    if versions is None:
        return None
    asked = read_questions(versions.new.file(versions.new_commit, QUESTIONS))
    _require_consent(origin, versions.new, confirm)
    origin = _correct_guessed_answers(origin, request, asked, tell)
    old, new = _render_both(origin, versions, request.answers, asked, folder, tell)
    tell("Merging.")
    trees = use_pin_of_template(store, MergeSides(store.tree_of(old.folder), checkout.tree, store.tree_of(new.folder)))
    name = versions.new.name_of(versions.new_commit)
    merged, notes = merge_workspace(store, trees, skip=origin.skip, label=_side_label(name))
    merged, left = renew_lock(checkout, store, trees, merged, folder / "lock", tell, keep=keep)
    notes += left
    tree = store.edit(merged.tree, put={template_record.NAME: store.write_text(_record_text(origin, versions, new))})
    notes += _keep_engine_edits(checkout, store, trees, keep=keep)
    notes += _note_shadowing_targets(store, tree)
    notes += _note_local_template(origin, versions.new)
    notes += _note_new_questions(asked, origin.answers.keys() | request.answers.keys(), new.answers)
    return UpdatePlan(
        checkout.head,
        tree,
        name,
        _list_changes(store, checkout.tree, tree, merged),
        describe_conflicts(merged),
        notes,
        new_entries(
            versions.old.file(versions.old_commit, CHANGELOG), versions.new.file(versions.new_commit, CHANGELOG)
        ),
    )


def locate_versions(
    checkout: WorkspaceCheckout,
    origin: TemplateOrigin,
    store: TreeStore,
    request: UpdateRequest,
    folder: Path,
    tell: Tell,
) -> UpdateVersions | None:
    """Return the two ends of an update; None where there is nothing to update to."""
    target = parse_template_ref(request.to)
    versions = find_versions(origin, target, request.base, store.entries(checkout.tree), folder, tell)
    answers = request.answers.items() - origin.answers.items()
    same = versions.new.address == origin.template and not answers
    return versions if not same or has_newer_version(versions, asked=bool(target.version)) else None


def _require_consent(origin: TemplateOrigin, template: TemplateRepository, confirm: Confirm) -> None:
    """Have a user agree before code of a template runs that is not the one the workspace comes from.

    Raises:
        ConfigError: nobody agreed.
    """
    if template.address == origin.template:
        return
    what = f"An update runs code of the template at {template.address} as you: its hooks and extensions."
    if not confirm(f"{what} Go on?"):
        raise ConfigError(f"{what} Nobody confirmed it", remedy="If you trust it, add --yes.")


def _correct_guessed_answers(
    origin: TemplateOrigin, request: UpdateRequest, asked: Mapping[str, str], tell: Tell
) -> TemplateOrigin:
    """Tell which answers were read from files because nothing records them; those that were given are better ones."""
    if origin.template:
        return origin
    answers = {**origin.answers, **request.answers}
    lines = [f"  {name} = {answers[name]}" for name in asked if name in origin.answers]
    tell(
        "\n".join(
            [
                f"No {template_record.NAME} says how this workspace's template was answered. Its files say:",
                *lines,
                "To correct one, stop or undo the update, and run it again with: --answer QUESTION=ANSWER",
            ]
        )
    )
    return replace(origin, answers=answers)


def _render_both(
    origin: TemplateOrigin,
    versions: UpdateVersions,
    given: Mapping[str, str],
    asked: Mapping[str, str],
    folder: Path,
    tell: Tell,
) -> tuple[RenderedTemplate, RenderedTemplate]:
    """Return the workspace as the old template and as the new one give it.

    Raises:
        ConfigError: an answer is to no question, or refused.
    """
    if unknown := sorted(given.keys() - asked.keys()):
        raise ConfigError(
            f"the template does not ask for {', '.join(unknown)}", remedy=f"It asks for {', '.join(asked)}."
        )
    found = []
    for which, template, commit, answers in (
        ("old", versions.old, versions.old_commit, origin.answers),
        ("new", versions.new, versions.new_commit, {**origin.answers, **given}),
    ):
        what = f"the {which} template ({template.name_of(commit)})"
        tell(f"Rendering {what}.")
        sources = template.check_out(commit, folder / f"{which}-template")
        found.append(render_template(sources, answers, folder / which, what))
    return found[0], found[1]


def _record_text(origin: TemplateOrigin, versions: UpdateVersions, new: RenderedTemplate) -> str:
    return template_record.record_text(
        new.answers,
        template=versions.new.address,
        commit=versions.new_commit,
        checkout=versions.checkout,
        directory=versions.new.directory,
        skip=origin.skip,
        others=origin.others,
    )


def _list_changes(store: TreeStore, before: str, after: str, merged: MergeResult) -> list[FileChange]:
    """Return what an update does with each path that it changes, or that is in conflict."""
    ours, theirs = store.entries(before), store.entries(after)
    paths = sorted({*store.changed(before, after), *merged.stages})
    return [FileChange(path, ours.get(path), theirs.get(path), dict(merged.stages.get(path, {}))) for path in paths]


def _keep_engine_edits(checkout: WorkspaceCheckout, store: TreeStore, trees: MergeSides, *, keep: bool) -> list[str]:
    """Return a note where somebody edited the engine's sources, which go; their changes are kept in a file."""
    sources = [store.below(tree, ENGINE) for tree in (trees.base, trees.ours, trees.theirs)]
    if sources[2] or not sources[0] or not sources[1] or sources[0] == sources[1]:
        return []
    file = checkout.root / SCRATCH / EDITS
    if keep:
        write_atomically(file, store.difference(sources[0], sources[1]))
    return [
        f"somebody edited {ENGINE}/, which is removed: the engine is a package now. The edits are kept "
        f"in {SCRATCH}/{EDITS}; put what you need of them into your tasks.py, or propose it to the template"
    ]


def _note_shadowing_targets(store: TreeStore, tree: str) -> list[str]:
    """Return a note for each file that the team has changed, and that would be taken for one of Slipway's targets."""
    return [shadowing_target_note(path) for path in shadowing_targets(sorted(store.entries(tree)))]


def _note_local_template(origin: TemplateOrigin, template: TemplateRepository) -> list[str]:
    """Return a note where the template that is recorded from now on is a folder of this machine."""
    if template.address == origin.template or not template.address.startswith("/"):
        return []
    return [
        f"{template_record.NAME} names the template at {template.address}, which other machines do not have; "
        "update with --to URL to record one that they have"
    ]


def _note_new_questions(asked: Mapping[str, str], answered: set[str], answers: Mapping[str, Any]) -> list[str]:
    """Return a note for each question that the workspace has no answer to: the default counts."""
    return [
        f"new question {name}{f' ({prompt})' if prompt else ''} got the default, {answers[name]}. "
        f"For another answer, undo the update and run: invoke update --answer {name}=ANSWER"
        for name, prompt in asked.items()
        if name not in answered and name in answers
    ]


def _side_label(name: str) -> str:
    """Return what conflict markers call the new template's side: what git takes as a branch's name."""
    return "template-" + re.sub(r"[^\w-]+", ".", name, flags=re.ASCII).strip(".")
