"""What build, push and mode ask for, print and write."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.tasks.conftest import DIGEST, NAMES, REF, Flows, ended_with, rows

from slipway._internal.build import build, build_command, fast_path
from slipway._internal.build.build import ShippedImage
from slipway._internal.build.build_command import BuildResult
from slipway._internal.content import build_state
from slipway._internal.content.build_state import BuiltImage
from slipway._internal.gate import gate
from slipway._internal.release import image_mode
from slipway._internal.tasks import images as verbs

IMAGES = {
    "service-000": BuiltImage("r/many/service-000:h-" + "c" * 64, DIGEST, pushed=True),
    "service-001": BuiltImage("r/many/service-001:h-" + "d" * 64, DIGEST),
}


class Plan(SimpleNamespace):
    """Stands for what has to be built of a service."""

    def summary(self, dry: bool) -> str:
        return "would be built" if dry else f"{DIGEST} is built"


PLANS: list[Any] = [Plan(service=SimpleNamespace(name="service-000"), content="c" * 64)]


@pytest.fixture
def built(flows: Flows) -> Flows:
    """Stand-ins for a build that has something to do."""
    flows.replace(fast_path, "find_unchanged", None)
    flows.replace(build_command, "build_services", BuildResult(PLANS, {"service-000": ["main.py is new"]}))
    return flows


def test_where_nothing_changed_the_workspace_is_not_even_read(built: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    built.replace(fast_path, "find_unchanged", IMAGES)
    ended_with(0, verbs.build)
    out = capsys.readouterr().out
    assert ("service-000", "c" * 12, DIGEST, "is", "in", "the", "registry") in rows(out)
    assert ("service-001", "d" * 12, DIGEST, "is", "built") in rows(out)
    assert "2 of 2 images are up to date" in out
    assert "build_services" not in built.calls


def test_of_many_unchanged_services_only_the_number_is_told(built: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    built.replace(fast_path, "find_unchanged", {f"s{number}": IMAGES["service-000"] for number in range(31)})
    ended_with(0, verbs.build)
    assert [line[:30] for line in capsys.readouterr().out.splitlines()] == ["✔ Nothing changed: 31 of 31 im"]


def test_what_is_needed_here_is_looked_for_even_where_nothing_changed(built: Flows) -> None:
    built.replace(fast_path, "find_unchanged", IMAGES)
    ended_with(0, verbs.build, "service-000", local=True)
    assert built.args("build_services")[1] == "service-000"
    assert built.options("build_services") == {"local": True, "dry": False, "explain": False}


def test_a_build_names_each_services_content_and_image(built: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(0, verbs.build)
    out = capsys.readouterr().out
    assert ("service-000", "c" * 12, DIGEST, "is", "built") in rows(out) and "main.py" not in out


def test_a_dry_build_says_what_would_be_built_and_why(built: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(0, verbs.build, dry=True, why=True)
    out = capsys.readouterr().out
    assert ("service-000", "c" * 12, "would", "be", "built") in rows(out)
    assert ("service-000", "main.py", "is", "new") in rows(out)


def remember(monkeypatch: pytest.MonkeyPatch, images: dict[str, BuiltImage] | None) -> None:
    monkeypatch.setattr(build_state, "unchanged_images", lambda _root: images)


@pytest.mark.parametrize(
    ("chosen", "found"),
    [(None, NAMES), ("service-001", ["service-001"]), ("service-001, service-000", NAMES[::-1])],
)
def test_the_fast_path_answers_for_the_chosen_services(
    monkeypatch: pytest.MonkeyPatch, root: Path, chosen: str | None, found: list[str]
) -> None:
    remember(monkeypatch, IMAGES)
    assert list(fast_path.find_unchanged(root, chosen) or ()) == found


@pytest.mark.parametrize(("images", "chosen"), [(None, None), (None, "service-000"), (IMAGES, "nobody")])
def test_the_fast_path_leaves_what_changed_and_unknown_names_to_the_whole_build(
    monkeypatch: pytest.MonkeyPatch, root: Path, images: dict[str, BuiltImage] | None, chosen: str | None
) -> None:
    remember(monkeypatch, images)
    assert fast_path.find_unchanged(root, chosen) is None


@pytest.fixture
def pushed(flows: Flows) -> Flows:
    """Stand-ins for both ways of a push."""
    flows.replace(build, "push_images", [ShippedImage("service-000", REF, "pushed")])
    flows.replace(gate, "push_passed", [ShippedImage("service-000", REF, "passed before")])
    return flows


def test_a_push_to_an_open_stack_takes_what_was_built(pushed: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(0, verbs.push, "service-000", dry=True)
    assert pushed.services("push_images") == ["service-000"] and pushed.args("push_images")[2] == "dev"
    assert pushed.options("push_images") == {"dry": True}
    assert ("service-000", REF, "pushed") in rows(capsys.readouterr().out)
    assert "push_passed" not in pushed.calls


def test_a_push_to_a_protected_stack_takes_only_what_passed_the_gate(
    pushed: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    ended_with(0, verbs.push, stack="prod")
    assert pushed.args("push_passed")[2].name == "prod"
    assert ("service-000", REF, "passed", "before") in rows(capsys.readouterr().out)
    assert "push_images" not in pushed.calls


def test_without_a_mode_each_stacks_mode_is_shown(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(0, verbs.mode)
    shown = rows(capsys.readouterr().out)
    assert ("dev", "inline", "docker", "no") in shown and ("prod", "external", "docker", "yes") in shown
    ended_with(0, verbs.mode, stack="dev", json=True)
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["name"], found["images"], found["protected"]) == ("dev", "inline", False)


@pytest.mark.parametrize("dry", [True, False])
def test_a_switch_is_said_service_by_service_and_written_unless_it_is_dry(
    flows: Flows, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dry: bool
) -> None:
    flows.replace(image_mode, "running_digests", {"service-000": DIGEST})
    ended_with(0, verbs.mode, "external", dry=dry)
    out = capsys.readouterr().out
    assert any(row[:2] == ("service-000", DIGEST) for row in rows(out))
    assert any(row[:2] == ("service-001", "nothing") for row in rows(out))
    assert "would be external" in out if dry else "is now external" in out
    text = (root / "infra" / "Pulumi.dev.yaml").read_text(encoding="utf-8")
    assert ("slipway:images: external" in text) is not dry


def test_an_unknown_mode_is_refused_and_nothing_is_written(
    flows: Flows, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended_with(2, verbs.mode, "outside")
    assert "outside" in capsys.readouterr().err
    assert "images: inline" in (root / "infra" / "Pulumi.dev.yaml").read_text(encoding="utf-8")
