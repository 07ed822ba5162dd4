"""What is wrong in a file is said by file, line, key and remedy, before anything is built or contacted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.workspace import Workspace

pytestmark = [pytest.mark.engine]


@pytest.fixture
def workspace(baked: Workspace) -> Iterator[Workspace]:
    """A workspace that need not be up: what is tested here ends before that would matter."""
    yield baked
    baked.restore()


WRONG = [
    ("workspace.toml", "\nport =", "\nprot =", ["`prot`", "Did you mean `port`?", "bind"]),
    ("workspace.toml", 'bind = "127', 'bnid = "127', ["`bnid`", "`bind`"]),
    ("workspace.toml", "port = ", 'port = "all" # ', ["port", "whole number"]),
    ("workspace.toml", "[gateway]", "[gateway", ["TOML"]),
    ("workspace.toml", 'registry = "127', 'registry = "http://127', ["`registry`", "scheme"]),
    ("services/api/service.toml", "route =", "rout =", ["`rout`", "Did you mean `route`?", "secrets"]),
    ("services/api/service.toml", "port = 8000", "port = 80000", ["port", "65535"]),
    ("services/api/service.toml", "port = 8000\n", "", ["route", "`port`"]),
    ("services/api/service.toml", 'route = "/api"', 'route = "/"', ["`route` /", "api", "web"]),
    ("services/api/service.toml", 'libs = ["common"]', 'libs = ["comon"]', ["no lib `comon`", "common"]),
    ("services/api/service.toml", 'memory = "256m"', 'memory = "256 MB"', ["`memory`", "256m"]),
    ("infra/Pulumi.dev.yaml", "slipway:images: inline", "slipway:images: sideways", ["slipway:images", "hybrid"]),
    ("infra/Pulumi.dev.yaml", "slipway:images", "slipway:image", ["slipway:image`", "slipway:images"]),
]


@pytest.mark.parametrize(("file", "old", "new", "told"), WRONG, ids=lambda each: each if isinstance(each, str) else "")
def test_a_wrong_setting_is_named_with_its_file_and_line(
    workspace: Workspace, file: str, old: str, new: str, told: list[str]
) -> None:
    workspace.edit(file, old, new)
    ran = workspace.invoke("up")
    assert ran.code == 2, ran.output
    assert not [word for word in told if word not in ran.output], ran.output
    assert "remedy" in ran.output
    two_files = new == 'route = "/"'  # either of the two is as wrong as the other
    assert two_files or f"{workspace.root / file}:" in ran.output, ran.output
    assert len(ran.output.splitlines()) <= 4


def test_a_missing_dockerfile_is_named(workspace: Workspace) -> None:
    (workspace.root / "services" / "api" / "Dockerfile").unlink()
    ran = workspace.invoke("up")
    assert ran.code == 2, ran.output
    assert f"{workspace.root / 'services' / 'api' / 'Dockerfile'} is missing" in ran.output


def test_a_missing_lib_folder_is_named(workspace: Workspace) -> None:
    shutil.rmtree(workspace.root / "libs" / "common")
    ran = workspace.invoke("up")
    assert ran.code == 2, ran.output
    assert "no lib `common`" in ran.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("up", "--stack", "nope"), "dev, prod, staging"),
        (("mode", "nope"), "inline, external, hybrid"),
        (("build", "nope"), "api, web, worker"),
        (("logs", "nope"), "api, web, worker"),
        (("test", "nope"), "api, web, worker"),
        (("push", "nope"), "api, web, worker"),
        (("push", "--stack", "nope"), "dev, prod, staging"),
        (("status", "--stack", "nope"), "dev, prod, staging"),
        (("logs", "api", "--stack", "nope"), "dev, prod, staging"),
        (("down", "--stack", "nope"), "dev, prod, staging"),
        (("mode", "external", "--stack", "nope"), "dev, prod, staging"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_a_name_that_nothing_has_is_answered_with_those_that_there_are(
    workspace: Workspace, words: tuple[str, ...], told: str
) -> None:
    ran = workspace.invoke(*words)
    assert ran.code == 2, ran.output
    assert told in ran.output


def test_an_engine_that_cannot_be_reached_is_named_with_the_way_out(workspace: Workspace) -> None:
    for words in (("up", "--no-install"), ("up",), ("status",), ("down", "--yes")):
        ran = workspace.invoke(*words, DOCKER_HOST="unix:///nonexistent/docker.sock")
        assert ran.code == 1, ran.output
        assert "unix:///nonexistent/docker.sock" in ran.output and "DOCKER_HOST" in ran.output
        assert "remedy" in ran.output
    doctor = workspace.invoke("doctor", DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert doctor.code == 1, doctor.output
    assert "unix:///nonexistent/docker.sock" in doctor.output


def test_what_is_missing_is_said_and_not_installed_where_nothing_may_be(deployed: Workspace, tmp_path: Path) -> None:
    # The engine is there, or that would be said first. No tool is on the path or in the cache, and none can be had.
    tools, aside = deployed.root / ".slipway" / "bin", deployed.root / ".slipway" / "aside"
    tools.rename(aside)
    try:
        ran = deployed.invoke("up", "--no-install", XDG_CACHE_HOME=str(tmp_path), PATH="/usr/bin:/bin")
    finally:
        shutil.rmtree(tools, ignore_errors=True)
        aside.rename(tools)
    assert ran.code == 1, ran.output
    assert "pulumi" in ran.output and "remedy" in ran.output
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
