"""`invoke update` with this template: workspaces that hold the engine's sources get its package in their place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.bake.generate import generate
from tests.bake.history import brought, edit, files_in, git, save
from tests.conftest import ENGINE, ROOT

from slipway._internal.model import workspace
from slipway._internal.model.errors import ConfigError
from slipway._internal.scaffold.update import check_update, update_workspace
from slipway._internal.scaffold.update_plan import EDITS, UpdateRequest
from slipway._internal.scaffold.vendored_engine import read_answers

VENDORED = "5881e06824dd"
"""A commit of this template whose workspaces hold the engine's sources."""
ANSWERS = {
    "project_slug": "shop",
    "registry": "ghcr.io/acme",
    "gateway_port": "9000",
    "ci": "gitlab",
    "state": "service",
}
SECONDS = 120


@pytest.fixture(scope="module")
def present(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of this template with all its history, and as it stands here and now."""
    if not has_history():
        pytest.skip(f"this checkout has no commit {VENDORED}, or no git")
    folder = tmp_path_factory.mktemp("template") / "slipway"
    git(ROOT, "clone", "--quiet", "--no-tags", str(ROOT), str(folder))
    for name in git(folder, "ls-files", "-z").split("\0")[:-1]:
        (folder / name).unlink()
    for name in git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")[:-1]:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    save(folder)
    return folder


def has_history() -> bool:
    done = subprocess.run(
        ["git", "-C", ROOT, "cat-file", "-e", f"{VENDORED}^{{commit}}"], capture_output=True, check=False
    )
    return done.returncode == 0


@pytest.fixture(scope="module")
def generated(present: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of that commit, with a service more, in git."""
    old = tmp_path_factory.mktemp("old") / "slipway"
    git(present, "worktree", "add", "--quiet", "--detach", str(old), VENDORED)
    done = generate(tmp_path_factory.mktemp("generated"), template=old, **ANSWERS)
    assert done.code == 0, done.output
    command = [sys.executable, "-m", "invoke", "new", "orders", "--kind", "python-api"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, cwd=done.workspace, env=env, check=True, timeout=SECONDS)
    git(done.workspace, "init", "--quiet")
    save(done.workspace)
    return done.workspace


@pytest.fixture
def team(generated: Path, tmp_path: Path) -> Path:
    """That workspace, for one test."""
    shutil.copytree(generated, tmp_path / "shop", symlinks=True)
    return tmp_path / "shop"


def test_answers_are_read_from_what_the_template_made_of_them(team: Path) -> None:
    assert read_answers(team) == {**ANSWERS, "services": "demo", "target": "docker", "bases": "auto"}
    for name in ("web", "worker"):
        shutil.rmtree(team / "services" / name)
    assert read_answers(team)["services"] == "api"


def test_a_workspace_with_the_engines_sources_gets_the_package_and_keeps_what_is_the_teams(
    present: Path, team: Path
) -> None:
    edit(team, "services/api/app/main.py", "from __future__", "# The team's.\nfrom __future__")
    edit(team, "workspace.toml", "keep = 10", "keep = 11")
    save(team)
    services = {name: each for name, each in files_in(team).items() if name.startswith("services/orders/")}
    assert len(services) > 5
    done = brought(team, to=str(present))
    assert not done.conflicts
    found = files_in(team)
    assert not [name for name in found if name.startswith("slipway/")]
    assert [name for name in found if name.startswith("vendor/slipway_workspace-")]
    assert {name: each for name, each in found.items() if name.startswith("services/orders/")} == services
    assert b"# The team's." in found["services/api/app/main.py"][1]
    record = json.loads((team / ".cruft.json").read_text())
    assert record["commit"] == git(present, "rev-parse", "HEAD").strip()
    assert {name: record["context"]["cookiecutter"][name] for name in ANSWERS} == ANSWERS
    read = workspace.load_workspace(team)
    assert [service.name for service in read.services] == ["api", "orders", "web", "worker"]
    assert read.settings.retention.keep == 11
    model = [sys.executable, "-m", "slipway.check"]
    env = {**os.environ, "PYTHONPATH": str(ENGINE.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    said = subprocess.run(model, cwd=team, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    save(team)
    assert check_update(team, UpdateRequest(), print) is None


def test_an_untouched_one_becomes_what_is_generated_now(present: Path, team: Path, tmp_path: Path) -> None:
    shutil.rmtree(team / "services" / "orders")
    save(team)
    brought(team, to=str(present))
    fresh = generate(tmp_path / "fresh", template=present, services="demo", **ANSWERS)
    assert fresh.code == 0, fresh.output
    assert files_in(team) == files_in(fresh.workspace)


def test_changes_of_the_engines_sources_are_told_and_kept(present: Path, team: Path) -> None:
    edit(team, "slipway/flows/tags.py", "from __future__", "# The team's.\nfrom __future__")
    (team / "slipway" / "flows" / "own.py").write_text("OWN = 1\n")
    save(team)
    done = brought(team, to=str(present))
    assert not done.conflicts and not (team / "slipway").exists()
    assert any(EDITS in note for note in done.notes)
    kept = (team / ".slipway" / EDITS).read_text()
    assert "+# The team's." in kept and "+OWN = 1" in kept


def test_an_engine_that_no_commit_has_asks_for_the_version(present: Path, team: Path) -> None:
    for file in (team / "slipway").rglob("*.py"):
        file.write_text("# Another's.\n")
    (team / "slipway" / "__init__.py").write_text("# Another's.\n")
    save(team)
    with pytest.raises(ConfigError, match="this workspace was made from is unknown") as refused:
        update_workspace(team, UpdateRequest(str(present)), print, lambda _question: True)
    assert "--from VERSION" in refused.value.remedy
    assert update_workspace(team, UpdateRequest(str(present), VENDORED), print, lambda _question: True)


def test_the_template_needs_to_be_named(team: Path) -> None:
    with pytest.raises(ConfigError, match="does not say which template it comes from") as refused:
        update_workspace(team, UpdateRequest(), print, lambda _question: True)
    assert "--to URL" in refused.value.remedy


def test_the_templates_own_command_updates_a_workspace_whose_tasks_do_not_know_the_verb(
    present: Path, team: Path
) -> None:
    command = [sys.executable, "-m", "slipway.tasks", str(team), "update", "--to", str(present), "--yes"]
    env = {**os.environ, "PYTHONPATH": str(ENGINE.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deleted  slipway/ (" in done.stdout and "git diff --staged" in done.stdout
    assert git(team, "diff", "--name-only") == "", "what stands in the index stands in the files"
