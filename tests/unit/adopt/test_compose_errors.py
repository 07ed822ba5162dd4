"""What Docker Compose refuses is told with its line and a remedy; its own tags are no mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.adopt.made_up import compose_program, found, plan, read, write

from slipway._internal.adopt.compose_reader import read_compose
from slipway._internal.model.errors import ConfigError

TEXT = """\
include: [other.yaml]
services:
  a:
    extends: {service: b}
    env_file: [gone.env]
    environment:
      X: ${NOPE:?say which}
  b:
    extends: {service: a}
"""


@pytest.mark.parametrize(
    ("said", "line", "why", "remedy"),
    [
        (
            "Circular reference:\n  a in {file}\n  extends b in {file}\n  extends a in {file}",
            4,
            "Circular reference",
            "`extends` out",
        ),
        ("include cycle detected:\n{file}\n include {folder}/other.yaml\n include {file}", 1, "cycle", "`include` out"),
        (
            "env file {folder}/gone.env not found: stat {folder}/gone.env: no such file or directory",
            5,
            "gone.env not found",
            "Restore {folder}/gone.env",
        ),
        (
            "error while interpolating services.a.environment.X: required variable NOPE is missing a value: say which",
            7,
            "say which",
            "Write NOPE=… into {folder}/.env",
        ),
        ("invalid interpolation format for services.a.environment.X.", 7, "invalid", "`docker compose config`"),
        ("services.b.extends must be a mapping", 9, "must be", "`docker compose config`"),
    ],
)
def test_a_refusal_of_docker_compose_has_its_line_and_a_remedy(
    tmp_path: Path, said: str, line: int, why: str, remedy: str
) -> None:
    names = {"file": tmp_path / "compose.yaml", "folder": tmp_path}
    write(tmp_path, compose_dot_yaml=TEXT, other_dot_yaml="services: {}\n")
    program = compose_program(tmp_path / ".tool", {}, code=1, errors=said.format(**names))
    with pytest.raises(ConfigError) as caught:
        read_compose(tmp_path / "compose.yaml", program)
    assert caught.value.message.startswith(f"{names['file']}:{line}: Docker Compose cannot read it: ")
    assert why in caught.value.message and remedy.format(**names) in caught.value.remedy


def test_what_docker_compose_does_not_explain_is_told_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, compose_dot_yaml="services: {}\n")
    with pytest.raises(ConfigError, match=r"compose\.yaml: Docker Compose cannot read it: it does not say why"):
        read_compose(tmp_path / "compose.yaml", compose_program(tmp_path / ".tool", {}, code=1))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_tags_line_ends_and_a_byte_order_mark_are_no_mistakes(tmp_path: Path, end: str, mark: str) -> None:
    lines = ["services:", "  a:", "    tty: !reset null", "    ports: !override ['81:80']", "    init: true", ""]
    (tmp_path / "compose.yaml").write_bytes(f"{mark}{end.join(lines)}".encode())
    program = compose_program(tmp_path / ".tool", {"services": {"a": {"image": "nginx"}}})
    compose = read_compose(tmp_path / "compose.yaml", program)
    assert compose.written_keys("a") == ["ports", "init"]
    assert compose.where("services", "a", "init").endswith("compose.yaml:5")


@pytest.mark.parametrize("tag", ["!other x", "!resets x", "!!python/name:os.system"])
def test_other_tags_are_refused_with_their_line(tmp_path: Path, tag: str) -> None:
    write(tmp_path, compose_dot_yaml=f"services:\n  a: {tag}\n")
    with pytest.raises(ConfigError, match=r"compose\.yaml:2: this is not valid YAML"):
        read_compose(tmp_path / "compose.yaml", compose_program(tmp_path / ".tool", {}))


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"compose\.yaml:3: .* the key `a` appears twice"):
        read(tmp_path, "services:\n  a: {}\n  a: {}\n", {})


def test_a_password_file_that_is_gone_is_told_and_its_value_is_asked_for(tmp_path: Path) -> None:
    text = "services:\n  a:\n    secrets: [pw]\nsecrets:\n  pw:\n    file: gone.txt\n"
    services = {"a": {"image": "nginx", "secrets": [{"source": "pw"}]}}
    gone = tmp_path / "shop" / "gone.txt"
    made = plan(tmp_path / "shop", text, services, secrets={"pw": {"file": str(gone)}})
    row = found(made, "secrets.pw")
    assert (row.fate, row.where) == ("to do", f"{tmp_path}/shop/compose.yaml:6")
    assert f"{gone} is not there" in row.why
    assert made.commands == ["cd infra && ../.venv/bin/pulumi config set --secret --stack dev a:pw"]


def test_what_runs_on_the_machine_is_refused_with_the_way_to_leave_it_out(tmp_path: Path) -> None:
    made = plan(tmp_path / "shop", "services:\n  db:\n    provider: {}\n", {"db": {"provider": {"type": "cloud"}}})
    assert found(made, "provider").where.endswith(":3") and "--skip db" in found(made, "provider").instead
