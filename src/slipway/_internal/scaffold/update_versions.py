"""The template version that a workspace comes from, and the one that an update goes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.structured_files import path_exists, read_json
from slipway._internal.scaffold import template_record, vendored_engine
from slipway._internal.scaffold.template_repository import SHORT, Tell, TemplateRef, TemplateRepository
from slipway._internal.scaffold.tree_store import Entry


class _Record(msgspec.Struct, frozen=True):
    """`.cruft.json`, as far as an update reads it."""

    template: str
    commit: str | None
    context: dict[str, dict[str, Any]]
    checkout: str | None = None
    directory: str | None = None
    skip: list[str] = []


@dataclass(frozen=True)
class TemplateOrigin:
    """What a workspace comes from: `.cruft.json`, and the keys in it that nobody here reads.

    Of a workspace without that file it is what the other files show: answers, and neither a template nor a commit.
    """

    answers: Mapping[str, Any]
    template: str = ""
    commit: str | None = None
    checkout: str | None = None
    directory: str | None = None
    skip: tuple[str, ...] = ()
    others: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class UpdateVersions:
    """The two ends of an update: the template and commit that the workspace comes from, and those it goes to."""

    old: TemplateRepository
    old_commit: str
    new: TemplateRepository
    new_commit: str
    checkout: str | None


def read_template_origin(root: Path) -> TemplateOrigin:
    """Return what a workspace comes from.

    Raises:
        ConfigError: the file that says so cannot be read, or without it those that show the answers.
    """
    file = root / template_record.NAME
    if not path_exists(file):
        return TemplateOrigin(vendored_engine.read_answers(root))
    remedy = "Correct it, or restore it from git (`git checkout -- .cruft.json`)."
    raw = read_json(file, dict[str, Any], what="record of a template", remedy=remedy)
    try:
        found = msgspec.convert(raw, _Record)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: {error}", remedy=remedy) from error
    answers = found.context.get("cookiecutter", {})
    return TemplateOrigin(
        {name: answer for name, answer in answers.items() if not name.startswith("_")},
        *(found.template, found.commit, found.checkout, found.directory, tuple(found.skip)),
        {name: value for name, value in raw.items() if name not in _Record.__struct_fields__},
    )


def find_versions(
    origin: TemplateOrigin, target: TemplateRef, base: str | None, ours: Mapping[str, Entry], folder: Path, tell: Tell
) -> UpdateVersions:
    """Return the two ends of an update.

    Args:
        origin: what the workspace comes from.
        target: what `--to` asks for.
        base: what `--from` says: the version that the workspace comes from.
        ours: the workspace's files.
        folder: a folder for clones.
        tell: told what takes time.

    Raises:
        ConfigError: one of them cannot be found.
    """
    address = target.address or origin.template
    if not address:
        name = "Name the template's repository: --to URL, or --to PATH of a clone."
        if vendored_engine.has_vendored_engine(ours):
            raise ConfigError("this workspace does not say which template it comes from", remedy=name)
        raise ConfigError(
            f"{template_record.NAME} is missing: it says which template the workspace comes from",
            remedy=f"Get it back from git: git log --all --oneline -- {template_record.NAME}\n"
            f"Or do without: {name} Add --from VERSION, the one that the workspace was made from.",
        )
    if not target.address:
        _require_repository(origin)
    new = TemplateRepository.clone(address, None, folder / "new.git", tell)
    new_commit, checkout = find_target(new, origin, target)
    if origin.directory and new.file(new_commit, f"{origin.directory}/cookiecutter.json"):
        new = new.below(origin.directory)
    old, old_commit = _find_base(origin, base, ours, new, folder, tell)
    return UpdateVersions(old, old_commit, new, new_commit, checkout)


def find_target(template: TemplateRepository, origin: TemplateOrigin, target: TemplateRef) -> tuple[str, str | None]:
    """Return the commit that an update goes to, and the branch or tag that is recorded with it.

    What was asked for; else the branch that the workspace follows, the newest version, or the default branch.

    Raises:
        ConfigError: the template has no such version.
    """
    if target.version:
        found = template.commit_of(target.version)
        if not found:
            newest = template.newest_version()
            raise ConfigError(
                f"the template at {template.address} has no version {target.version!r}",
                remedy=f"Its newest version is {newest}."
                if newest
                else "It has no version tags: name a branch or commit.",
            )
        return found, target.version
    if origin.checkout and template.is_branch(origin.checkout):
        return template.commit_of(origin.checkout) or "", origin.checkout
    if newest := template.newest_version():
        return template.commit_of(newest) or "", None
    return template.default_branch(), None


def has_newer_version(versions: UpdateVersions, *, asked: bool) -> bool:
    """Whether there is something to update to.

    Args:
        versions: the two ends.
        asked: a version was asked for by name: it may be an older one.
    """
    if versions.old_commit == versions.new_commit:
        return False
    return asked or not versions.new.is_ancestor(versions.new_commit, versions.old_commit)


def _require_repository(origin: TemplateOrigin) -> None:
    """Refuse a recorded template that is in no git repository, or on another machine's disk.

    Raises:
        ConfigError: with what to name instead.
    """
    if origin.commit is None:
        raise ConfigError(
            f"{template_record.NAME} has no commit: the template was {origin.template}, which is in no git repository",
            remedy="Name a repository of it, and the version that this workspace was made from: "
            "invoke update --to URL --from VERSION",
        )
    if origin.template.startswith("/") and not Path(origin.template).exists():
        raise ConfigError(
            f"the template was at {origin.template}, which is not on this machine",
            remedy="Name its repository: invoke update --to URL, or --to PATH of a clone.",
        )


def _find_base(
    origin: TemplateOrigin,
    base: str | None,
    ours: Mapping[str, Entry],
    new: TemplateRepository,
    folder: Path,
    tell: Tell,
) -> tuple[TemplateRepository, str]:
    """Return the template and commit that a workspace comes from: in the new template's history, else the old one's.

    Raises:
        ConfigError: neither has it.
    """
    remedy = "Name the template's version that this workspace was made from: --from VERSION, a tag or a commit."
    if base:
        if found := new.commit_of(base):
            return new.below(origin.directory), found
        raise ConfigError(f"the template at {new.address} has no version {base!r}", remedy=remedy)
    if origin.commit:
        if new.get_commit(origin.commit):
            return new.below(origin.directory), origin.commit
        if origin.template and origin.template != new.address:
            _require_repository(origin)
            old = TemplateRepository.clone(origin.template, origin.directory, folder / "old.git", tell)
            if old.get_commit(origin.commit):
                return old, origin.commit
        raise ConfigError(f"the template has no commit {origin.commit[:SHORT]} any more", remedy=remedy)
    vendored = not origin.template and vendored_engine.has_vendored_engine(ours)
    if vendored and (found := vendored_engine.find_source_commit(new, ours, tell)):
        return new, found
    raise ConfigError("the version of the template that this workspace was made from is unknown", remedy=remedy)
