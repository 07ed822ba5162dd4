"""Workspaces that record no template: of the first templates, which put the engine's sources into `slipway/`, or whose
record was lost.

Their answers are read from the files that the template made of them. Where a workspace holds the engine's sources, its
template's commit is the one whose engine is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.parsing import ParseError, parse_toml
from slipway._internal.model.structured_files import path_exists, read_yaml
from slipway._internal.model.text import read_text
from slipway._internal.scaffold.template_repository import Tell, TemplateRepository
from slipway._internal.scaffold.tree_store import Entry

ENGINE = "slipway"
FOLDER = "{{cookiecutter.project_slug}}"
"""The template's folder that becomes a workspace."""
Files = Mapping[str, Entry]
_STATES = {"file://../.slipway/state": "local", "https://api.pulumi.com": "service"}
_SERVICES = {"web": "demo", "worker": "demo", "api": "api"}
"""First services of the template, and the answer that gives them; the first that is there decides."""


def has_vendored_engine(ours: Files) -> bool:
    """Whether a workspace holds the engine's sources."""
    return f"{ENGINE}/__init__.py" in ours and any(path.startswith(f"{ENGINE}/tasks/") for path in ours)


def read_answers(root: Path) -> dict[str, str]:
    """Return the answers that a workspace's files show.

    Raises:
        ConfigError: workspace.toml or a file of Pulumi cannot be read.
    """
    file = root / "workspace.toml"
    try:
        settings = parse_toml(read_text(file))
    except ParseError as error:
        raise ConfigError(f"{file} cannot be read: {error}", remedy="Correct it first.") from error
    backend = _at(_read_pulumi_file(root / "infra" / "Pulumi.yaml"), "backend", "url") or ""
    stack = _read_pulumi_file(root / "infra" / "Pulumi.dev.yaml")
    found = {
        "project_slug": settings.get("name"),
        "registry": settings.get("registry"),
        "services": next((answer for name, answer in _SERVICES.items() if (root / "services" / name).is_dir()), "none"),
        "target": _at(stack, "config", "slipway:target") or "docker",
        "bases": _at(settings, "bases", "source"),
        "gateway_port": _at(settings, "gateway", "port"),
        "ci": _ci_of(root),
        "state": _STATES.get(backend, backend),
    }
    return {question: str(answer) for question, answer in found.items() if answer not in (None, "")}


def find_source_commit(template: TemplateRepository, ours: Files, tell: Tell) -> str | None:
    """Return the template's commit that a workspace was made from: whose engine it has, and most of its other files.

    Where somebody edited the engine, the nearest commit; None where less than half of its files are the workspace's.
    """
    tell("Looking for the template's commit that this workspace was made from.")
    engine = {path: entry for path, entry in ours.items() if path.startswith(f"{ENGINE}/")}
    most, nearest = len(engine) // 2, list[str]()
    for commits in template.commits_by_tree(f"{FOLDER}/{ENGINE}"):
        same = _alike(engine, template.files(commits[0], FOLDER))
        if same > most:
            most, nearest = same, commits
        if same == len(engine):
            break
    return max(nearest, key=lambda commit: _alike(ours, template.files(commit, FOLDER)), default=None)


def _alike(ours: Files, theirs: Mapping[str, str]) -> int:
    """Return how many of the workspace's files hold what the template's of the same path hold."""
    return sum(1 for path, entry in ours.items() if theirs.get(path) == entry.oid)


def _read_pulumi_file(file: Path) -> Mapping[str, Any]:
    return read_yaml(file) if path_exists(file) else {}


def _ci_of(root: Path) -> str:
    if (root / ".github" / "workflows").is_dir():
        return "github"
    return "gitlab" if (root / ".gitlab-ci.yml").is_file() else "none"


def _at(values: Mapping[str, Any], *keys: str) -> Any:
    for key in keys:
        values = values.get(key, {}) if isinstance(values, Mapping) else {}
    return None if values == {} else values
