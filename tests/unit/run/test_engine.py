"""The Docker engine client, without an engine."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from docker.errors import APIError

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.masking import MASK, mask, register_secret
from slipway._internal.run import engine, tunnel


def answer(**changes: object) -> dict[str, object]:
    labels = {engine.SERVICE_LABEL: "api"}
    base = {
        "Id": "a",
        "Names": ["/demo-dev-api-1"],
        "Labels": labels,
        "Image": "demo/api",
        "State": "running",
    }
    return {**base, "Status": "Up 2 minutes", "Created": 1, **changes}


def test_labels_are_the_words_by_which_containers_of_earlier_versions_are_found() -> None:
    labels = (engine.WORKSPACE_LABEL, engine.STACK_LABEL, engine.SERVICE_LABEL, engine.URN_LABEL, engine.DEV_LABEL)
    assert labels == ("slipway.workspace", "slipway.stack", "slipway.service", "slipway.urn", "slipway.dev")


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ("Up 2 minutes (healthy)", "healthy"),
        ("Up 2 minutes (unhealthy)", "unhealthy"),
        ("Up 1 second (health: starting)", "starting"),
        ("Up 2 minutes", ""),
        ("Exited (1) 3 seconds ago", ""),
    ],
)
def test_health_is_read_from_the_status(monkeypatch: pytest.MonkeyPatch, status: str, health: str) -> None:
    api = SimpleNamespace(containers=lambda **_: [answer(Status=status)])
    monkeypatch.setattr(engine, "client", lambda: SimpleNamespace(api=api))
    [found] = engine.list_containers("demo", "dev")
    assert (found.service, found.name, found.health) == ("api", "demo-dev-api-1", health)


def test_the_environment_chooses_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@server")
    assert engine.address() == "ssh://me@server"


def test_otherwise_the_docker_context_in_use_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({}))
    assert engine.address() == "unix:///var/run/docker.sock"


def test_an_engine_that_does_not_answer_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(SlipwayError, match=r"none\.sock does not answer") as caught:
        engine.list_containers("demo", "dev")
    assert "invoke setup" in caught.value.remedy
    assert caught.value.detail == "No such file or directory"


def test_what_the_engine_refuses_is_told_in_its_own_words() -> None:
    translated = engine.translate_error(APIError("500", explanation="no space left on device"))
    assert translated and translated.message == "the Docker engine refused: no space left on device"


def test_errors_of_others_are_not_explained_away() -> None:
    assert engine.translate_error(KeyError("x")) is None
    assert engine.translate_error(requests.exceptions.ReadTimeout("slow")) is not None


@pytest.mark.parametrize(
    ("config", "command"),
    [
        ({"Healthcheck": {"Test": ["CMD", "/app", "health"]}}, ["/app", "health"]),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "curl -f x"]}}, ["/bin/sh", "-c", "curl -f x"]),
        (
            {"Healthcheck": {"Test": ["CMD-SHELL", "x"]}, "Shell": ["/bin/bash", "-c"]},
            ["/bin/bash", "-c", "x"],
        ),
        ({"Healthcheck": {"Test": ["NONE"]}}, []),
        ({"Healthcheck": None}, []),
        ({}, []),
    ],
)
def test_a_health_check_is_run_as_the_image_says(config: dict[str, object], command: list[str]) -> None:
    assert engine.health_command(SimpleNamespace(attrs={"Config": config})) == command


def test_bounded_work_hands_on_its_result_and_its_error() -> None:
    assert engine.run_with_timeout(lambda: 7, 5) == 7
    with pytest.raises(ZeroDivisionError):
        engine.run_with_timeout(lambda: 1 // 0, 5)


@pytest.mark.parametrize(
    ("parts", "lines"),
    [
        ([b"one\ntw", b"o\r\n", b"three"], ["one", "two", "three"]),
        ([b"a", b"b", b"c\n\nd\n"], ["abc", "", "d"]),
        ([b"\xff\n", b""], ["\ufffd"]),
        ([], []),
    ],
)
def test_a_log_s_parts_are_put_together_to_lines(parts: list[bytes], lines: list[str]) -> None:
    assert list(engine.split_lines(parts)) == lines


def test_a_line_without_an_end_is_told_in_pieces() -> None:
    pieces = engine.split_lines(b"x" * 16_000 for _ in range(700))
    assert engine.MAX_LINE_BYTES <= len(next(pieces)) < engine.MAX_LINE_BYTES + 16_000
    assert sum(map(len, pieces)) + engine.MAX_LINE_BYTES > 700 * 16_000 - 16_000


@pytest.mark.parametrize("ended", [b"", b"\nnext\n"])
def test_a_secret_across_the_pieces_of_a_long_line_is_told_in_none_of_them(
    monkeypatch: pytest.MonkeyPatch, ended: bytes
) -> None:
    monkeypatch.setattr(engine, "MAX_LINE_BYTES", 32)
    register_secret("sentinel-0123456789")
    text = b"x" * 30 + b"sentinel-0123456789" + b"y" * 40 + b"sentinel-0123456789" + ended
    pieces = list(engine.split_lines(text[at : at + 8] for at in range(0, len(text), 8)))
    assert len(pieces) > 2
    masked = "".join(mask(piece) for piece in pieces)
    assert masked == "x" * 30 + MASK + "y" * 40 + MASK + ("next" if ended else "")


def test_a_server_s_engine_is_spoken_to_through_the_tunnel_and_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@server")
    asked: list[str] = []
    monkeypatch.setattr(tunnel, "open_tunnel", lambda address: SimpleNamespace(socket=asked.append(address) or "/x"))
    monkeypatch.setattr(engine, "_connect", lambda host, _seconds: host)
    assert engine.client() == "unix:///x"
    assert asked == ["ssh://me@server"]
    assert not engine.is_local()
