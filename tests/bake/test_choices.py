"""Every choice gives a workspace that is whole: nothing left to render, its own checks pass."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from tests.bake.generate import CHOICES, QUESTIONS, files_of, generate_here
from tests.conftest import TEMPLATE
from tests.own_python import lend
from wheel_builder import pin_wheel, sha256_of

from slipway._internal.model import own_targets, stack, workspace

COPIED = re.compile(r"\.py$|\.sh$|\.lock$|Dockerfile|\.dockerignore$|requirements[\w-]*\.(txt|in)$")
RENDERED = {".toml", ".yaml", ".md"}
LOCK = "requirements.txt"
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
# `${{ … }}` is GitHub's own; everything else of this form would be Jinja's.
JINJA = re.compile(r"(?<!\$)\{\{|\{%|\{#")


def test_there_are_at_most_eight_questions_and_each_has_a_prompt() -> None:
    asked = [question for question in QUESTIONS if not question.startswith("_")]
    assert len(asked) <= 8
    assert set(asked) == set(QUESTIONS["__prompts__"])
    assert all(QUESTIONS[question] == QUESTIONS["_choices"][question][0] for question, _ in CHOICES)


def test_code_is_copied_byte_by_byte(baked: Path) -> None:
    template = files_of(TEMPLATE)
    code = {name: path for name, path in files_of(baked).items() if COPIED.search(name)}
    assert code
    for name, path in code.items():
        # What a choice adds is copied from where the kinds are kept, and differs at most in its name.
        if name in template and name != LOCK:
            assert path.read_bytes() == template[name].read_bytes(), name
            assert os.access(path, os.X_OK) == os.access(template[name], os.X_OK), name


def test_the_lock_pins_the_wheel_in_vendor_beside_the_templates_packages(baked: Path) -> None:
    (wheel,) = (baked / "vendor").iterdir()
    assert (baked / LOCK).read_text() == pin_wheel((TEMPLATE / LOCK).read_text(), wheel)
    assert f"--hash=sha256:{sha256_of(wheel)}\n" in (baked / LOCK).read_text()


def test_the_lock_is_what_its_own_command_makes_of_it(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain, tmp_path / "shop")
    command = (plain / "requirements.in").read_text().splitlines()[1].removeprefix("# ").split()
    assert command[0] == "uv"
    check([sys.executable, "-m", *command], tmp_path / "shop")
    assert (tmp_path / "shop" / LOCK).read_text() == (plain / LOCK).read_text()


def test_nothing_is_left_to_render(baked: Path) -> None:
    for name, path in files_of(baked).items():
        assert not JINJA.search(name) and "cookiecutter" not in name
        if path.suffix in RENDERED:
            assert not JINJA.search(path.read_text(encoding="utf-8")), name


def test_what_tools_leave_behind_is_not_part_of_a_workspace(baked: Path) -> None:
    litter = re.compile(r"(^|/)(__pycache__|node_modules|\.venv|\.slipway|\.\w+_cache|\.hypothesis|\.nox)(/|$)|\.pyc$")
    assert not [name for name in files_of(baked) if litter.search(name)]


def test_data_files_can_be_read(baked: Path) -> None:
    read = set()
    for name, path in files_of(baked).items():
        if path.suffix == ".toml":
            tomllib.loads(path.read_text(encoding="utf-8"))
            read.add(name)
        elif path.suffix in {".yaml", ".yml"}:
            yaml.safe_load(path.read_text(encoding="utf-8"))
            read.add(name)
    assert {"workspace.toml", "policy/identities.toml", "infra/Pulumi.yaml", "infra/Pulumi.dev.yaml"} <= read


def test_the_model_reads_the_whole_workspace(baked: Path) -> None:
    read = workspace.load_workspace(baked)
    assert read.name == QUESTIONS["project_slug"]
    assert stack.names(baked) == ("dev", "prod", "staging")
    stacks = {name: stack.load(baked, name, {}) for name in stack.names(baked)}
    assert stacks["prod"].protected
    ports = [each.port or read.settings.gateway.port for each in stacks.values() if each.target == "docker"]
    assert len(set(ports)) == len(ports), "stacks on one machine would fight for the gateway's port"


@pytest.mark.parametrize("target", own_targets.ENGINE_TARGETS)
def test_every_stack_runs_where_the_answer_says_and_the_handbook_speaks_of_that(tmp_path: Path, target: str) -> None:
    made = generate_here(tmp_path, target=target).workspace
    stacks = [stack.load(made, name, {}) for name in stack.names(made)]
    assert [each.target for each in stacks] == [target] * 3
    on_cluster = target == "kubernetes"
    assert not any(each.port for each in stacks if on_cluster), "there it has no effect"
    handbook = (made / "README.md").read_text(encoding="utf-8")
    assert ("slipway:context" in handbook) is on_cluster
    assert ("| `invoke dev`" in handbook) is not on_cluster
    for each in stacks:
        optional = re.findall(r"^  # (slipway:\w+: \S+)$", each.file.read_text(encoding="utf-8"), re.MULTILINE)
        assert bool(optional) is on_cluster
        each.file.write_text(each.file.read_text(encoding="utf-8").replace("  # slipway:", "  slipway:"))
        stack.load(made, each.name, {})


def test_all_targets_that_there_are_can_be_answered() -> None:
    assert QUESTIONS["_choices"]["target"] == list(own_targets.ENGINE_TARGETS)


def test_a_workspace_before_its_services_is_small(baked: Path) -> None:
    files = [path for name, path in files_of(baked).items() if not name.startswith("services/")]
    assert len(files) <= 70, len(files)
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files if path.suffix == ".py")
    assert lines <= 1500, lines


DECIDING = (
    *("deploy/", "policy/", "infra/", "bases/", "workspace.toml", "vendor/", "tasks.py", "requirements.txt"),
    ".cruft.json",
)


def test_what_decides_has_owners_where_its_forge_looks_for_them(baked: Path) -> None:
    places = [each for each in (".github/CODEOWNERS", ".gitlab/CODEOWNERS", "CODEOWNERS") if (baked / each).is_file()]
    forges = {".github/workflows": ".github/CODEOWNERS", ".gitlab-ci.yml": ".gitlab/CODEOWNERS"}
    assert places == [owners for ci, owners in forges.items() if (baked / ci).exists()] or places == ["CODEOWNERS"]
    lines = [line for line in (baked / places[0]).read_text().splitlines() if line and not line.startswith("#")]
    owned = dict(line.split() for line in lines)
    assert {f"/{each}" for each in (*DECIDING, ".github/", ".gitlab-ci.yml")} < owned.keys()
    assert set(owned.values()) == {"@your-org/release-owners"}
    assert "@your-org/release-owners" in (baked / "README.md").read_text()


def test_its_own_nox_passes(baked: Path) -> None:
    done = subprocess.run(
        [lend(baked), "-m", "nox", "--no-venv"],
        cwd=baked,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def pipelines(folder: Path) -> dict[str, list[Path]]:
    """Return the CI files of a workspace by the schema that they follow."""
    return {
        "github-workflows": sorted(folder.glob(".github/workflows/*.y*ml")),
        "github-actions": sorted(folder.glob(".github/actions/*/action.y*ml")),
        "dependabot": sorted(folder.glob(".github/dependabot.y*ml")),
        "gitlab-ci": sorted(folder.glob(".gitlab-ci.y*ml")),
    }


def test_pipelines_follow_their_schemas(baked: Path) -> None:
    for schema, files in pipelines(baked).items():
        if files:
            check([sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *files])


def test_github_workflows_pass_actionlint(baked: Path) -> None:
    workflows = pipelines(baked)["github-workflows"]
    if not workflows:
        return
    if linter := shutil.which("actionlint"):
        check([linter, "-no-color", *workflows])
    elif go := shutil.which("go"):
        check([go, "run", ACTIONLINT, "-no-color", *workflows])
    else:
        pytest.skip("neither actionlint nor Go is here")


def check(command: list[str | Path], folder: Path | None = None) -> None:
    """Run a program that must find nothing wrong."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
