"""What is named to be adopted is found, or refused; a Compose file is read by Docker Compose with nothing of ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.unit.adopt.made_up import DIGEST, DOCKERFILE, compose_program, make_workspace, write

from slipway._internal.adopt import pins as pinning
from slipway._internal.adopt.adopt import Request, plan_adoption
from slipway._internal.adopt.compose_reader import read_compose
from slipway._internal.adopt.pins import Pins, open_pins
from slipway._internal.adopt.plan import Draft
from slipway._internal.adopt.service_file import render
from slipway._internal.adopt.source import is_url, open_source
from slipway._internal.content.dockerfile import read as read_dockerfile
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.parsing import parse_toml
from slipway._internal.model.workspace import load_workspace


def repository(folder: Path) -> Path:
    """Return a git repository of a service, with a branch of another port."""
    write(folder, Dockerfile=DOCKERFILE)
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        [*identity, "commit", "-qm", "one"],
        ["checkout", "-qb", "next"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    write(folder, Dockerfile=DOCKERFILE.replace("8000", "9000"))
    subprocess.run(["git", *identity, "commit", "-qam", "two"], cwd=folder, check=True)
    subprocess.run(["git", "checkout", "-q", "main"], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize(("fragment", "ref", "port"), [("", None, 8000), ("#next", None, 9000), ("", "next", 9000)])
def test_a_git_repository_is_cloned_at_a_branch_and_named_after_its_address(
    tmp_path: Path, fragment: str, ref: str | None, port: int
) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    url = f"file://{repository(tmp_path / 'My_Shop.git')}"
    with plan_adoption(workspace, Request(f"{url}{fragment}", ref=ref, offline=True), print) as adoption:
        adoption.write()
    service = load_workspace(workspace.root).service("my-shop")
    assert service.settings.port == port and not (service.folder / ".git").exists()


def test_a_repository_that_is_not_there_is_refused_with_gits_reason(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    for request in (
        Request(f"file://{tmp_path}/gone"),
        Request(f"file://{repository(tmp_path / 'shop')}", ref="--upload-pack=x"),
    ):
        with pytest.raises(SlipwayError, match="cannot be cloned") as caught, plan_adoption(workspace, request, print):
            raise AssertionError("nothing is planned")
        assert caught.value.detail


def test_a_clone_is_not_moved(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    request = Request(f"file://{repository(tmp_path / 'shop')}", move=True, offline=True)
    with pytest.raises(ConfigError, match="--move"), plan_adoption(workspace, request, print):
        raise AssertionError("nothing is planned")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("https://x/y", True), ("git@github.com:a/b.git", True), ("ssh://x", True), ("../x", False), ("C", False)],
)
def test_addresses_are_told_from_paths(text: str, expected: bool) -> None:
    assert is_url(text) is expected


def test_what_cannot_be_a_source_is_refused(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    write(workspace.root / "services" / "old", Dockerfile="FROM x")
    write(tmp_path, notes_dot_txt="x")
    cases = {
        tmp_path / "gone": "there is no",
        tmp_path / "notes.txt": "is a file",
        tmp_path: "holds this workspace",
        workspace.root: "holds this workspace",
        workspace.root / "services" / "old": "in services/ already",
    }
    for path, why in cases.items():
        with pytest.raises(ConfigError, match=why), open_source(workspace, str(path), None):
            raise AssertionError("nothing is opened")


def test_a_folder_with_a_dockerfile_is_that_and_not_its_compose_file(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    folder = write(tmp_path / "shop", Dockerfile="FROM x", compose_dot_yaml="services: {}\n")
    with open_source(workspace, str(folder), None) as source:
        assert source.compose is None
    with open_source(workspace, str(folder / "compose.yaml"), None) as source:
        assert source.compose == folder / "compose.yaml"


def test_skip_is_for_compose_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop", Dockerfile=DOCKERFILE)
    request = Request(str(folder), skip=frozenset({"x"}), offline=True)
    with pytest.raises(ConfigError, match="--skip"), plan_adoption(make_workspace(tmp_path / "w"), request, print):
        raise AssertionError("nothing is planned")


def test_docker_compose_gets_the_files_and_none_of_the_users_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "secret")
    monkeypatch.setenv("COMPOSE_FILE", "other.yaml")
    folder = write(tmp_path / "shop", compose_dot_yaml="services: {}\n", compose_dot_override_dot_yml="services: {}\n")
    program = compose_program(tmp_path / "tool", {"services": {"a": {"command": ["$$HOME", {"b": 1}]}}})
    compose = read_compose(folder / "compose.yaml", program)
    assert compose.services()["a"]["command"] == ["$HOME", {"b": 1}]
    assert (tmp_path / "tool" / "argv").read_text(encoding="utf-8").split() == [
        *("--file", f"{folder}/compose.yaml", "--file", f"{folder}/compose.override.yml"),
        *("--project-directory", str(folder), "--profile", "*", "config", "--format", "json"),
    ]
    environment = (tmp_path / "tool" / "env").read_text(encoding="utf-8")
    assert "secret" not in environment and "COMPOSE_FILE" not in environment and "PATH=" in environment


def test_what_docker_compose_refuses_is_refused_in_its_words(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop", shop_dot_yaml="services: {}\n")
    program = compose_program(tmp_path / "tool", {}, code=1, errors="env file .env not found\nmore\n")
    with pytest.raises(ConfigError, match=r"\.env not found") as caught:
        read_compose(folder / "shop.yaml", program)
    assert caught.value.detail == "more"


def test_text_that_is_no_yaml_and_an_answer_that_is_no_json_are_refused(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "shop", broken_dot_yaml="a:\n\t- b\n", fine_dot_yaml="services: {}\n", list_dot_yaml="- a\n"
    )
    program = compose_program(tmp_path / "tool", {})
    (tmp_path / "tool" / "project.json").write_text("[", encoding="utf-8")
    for name, why in {
        "broken": r"broken.yaml:2: .*YAML",
        "list": "a list",
        "fine": "cannot be read",
        "gone": "missing",
    }.items():
        with pytest.raises(ConfigError, match=why):
            read_compose(folder / f"{name}.yaml", program)


def test_digests_come_from_the_bases_a_file_and_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Registry:
        def __init__(self, host: str) -> None:
            self.host = host

        def resolve_digest(self, repository: str, reference: str) -> str | None:
            asked.append(f"{self.host}/{repository}:{reference}")
            if self.host == "gone.example":
                raise SlipwayError("the registry gone.example does not answer")
            if "private" in repository:
                raise SlipwayError("the registry docker.io refuses")
            return None if "nothing" in repository else DIGEST

    monkeypatch.setattr(pinning, "open_registry", lambda host, *_rest: Registry(host))
    workspace = make_workspace(tmp_path / "workspace")
    file = write(tmp_path, pins_dot_txt=f"\n# one\nredis:8@{DIGEST}\n") / "pins.txt"
    found = open_pins(workspace, file, offline=False)
    assert found.pin("redis:8") == f"docker.io/library/redis:8@{DIGEST}"
    assert found.pin("python:3.13-slim") == f"docker.io/library/python:3.13-slim@{DIGEST}"
    assert asked == []
    assert (
        found.pin("nginx") == found.pin("docker.io/library/nginx:latest") == f"docker.io/library/nginx:latest@{DIGEST}"
    )
    assert found.pin("private/x") is None and found.pin("nothing/x") is None
    assert found.pin("gone.example/a") is None and found.pin("gone.example/b") is None
    assert asked == [
        *("docker.io/library/nginx:latest", "docker.io/private/x:latest", "docker.io/nothing/x:latest"),
        "gone.example/a:latest",
    ]
    assert "no such image" in found.why_unknown("nothing/x") and "does not answer" in found.why_unknown(
        "gone.example/b"
    )
    assert found.pin(f"nginx@{DIGEST}") == f"docker.io/library/nginx:latest@{DIGEST}"
    assert found.pin("nginx@sha256:short") is None and "digest is not one" in found.why_unknown("nginx@sha256:short")


@pytest.mark.parametrize("line", ["nginx", "nginx@sha256:1", f"UPPER CASE@{DIGEST}"])
def test_a_line_that_pins_nothing_is_refused(tmp_path: Path, line: str) -> None:
    file = write(tmp_path, pins_dot_txt=f"# x\n{line}\n") / "pins.txt"
    with pytest.raises(ConfigError):
        open_pins(make_workspace(tmp_path / "workspace"), file, offline=True)


def test_digests_are_written_where_images_are_named(tmp_path: Path) -> None:
    text = (
        "ARG BASE=python:3.12\nFROM --platform=$BUILDPLATFORM ${BASE} \\\n  AS build\n"
        "COPY --from=nginx:1 /a /b\nRUN --mount=type=bind,from=busybox,target=/x true\n"
        f"FROM alpine@{DIGEST} AS run\nCOPY --from=build /a /b\nFROM debian AS unused\n"
    )
    (tmp_path / "Dockerfile").write_text(text, encoding="utf-8")
    known = Pins({f"docker.io/library/{name}": DIGEST for name in ("python:3.12", "nginx:1", "busybox:latest")})
    found = pinning.pin_dockerfile(read_dockerfile(tmp_path / "Dockerfile"), ["run"], {}, known)
    assert f"$BUILDPLATFORM docker.io/library/python:3.12@{DIGEST} \\" in found.text
    assert f"--from=docker.io/library/nginx:1@{DIGEST} /a" in found.text
    assert f"from=docker.io/library/busybox:latest@{DIGEST},target" in found.text
    assert "FROM debian AS unused" in found.text and found.unknown == {}
    assert [*found.pinned] == [2, 4, 5] or sorted(found.pinned) == [2, 4, 5]


def test_a_service_file_is_toml_whatever_the_texts_hold() -> None:
    settings = {
        "port": 1,
        "env": {"A": 'quote " back \\ line\n tab\t \x7f é 🚢', "b c": "x"},
        "command": ["a", "#b"],
        "security": {"read-only": False},
        "volumes": [{"name": "x", "path": "/x"}, {"name": "y", "path": "/y"}],
        "extra": 2.5,
    }
    text = render(Draft("web", settings, {"env.A": "two\nlines", "port": "why"}))
    assert parse_toml(text) == {"kind": "adopted", **settings}
    assert "# two\n# lines\nA = " in text and "# why\nport = 1" in text
