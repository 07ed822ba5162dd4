"""What setup, doctor, new, cache and dev ask for, print and end with; and how a verb is run from outside."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TEMPLATE
from tests.unit.tasks.conftest import NAMES, Flows, ended_with, rows

from slipway import tasks as entry
from slipway._internal.build import cache_mounts
from slipway._internal.dev import loop
from slipway._internal.gate import gate_doctor
from slipway._internal.scaffold import update
from slipway._internal.scaffold.service_creation import list_kinds
from slipway._internal.tasks import verbs
from slipway._internal.tasks.cache import cache
from slipway._internal.tasks.dev import dev
from slipway._internal.tasks.workspace import doctor, new, setup
from slipway._internal.toolchain import doctor as checks
from slipway._internal.toolchain.doctor import CheckResult


def test_setup_prepares_for_builds_and_names_the_next_step(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(0, setup, no_install=True, fresh=True)
    assert flows.options("prepare_environment") == {"building": True, "install": False, "fresh": True}
    assert "invoke up" in capsys.readouterr().out


@pytest.fixture
def examined(flows: Flows) -> Flows:
    """Stand-ins for a workspace in order."""
    flows.replace(checks, "run_checks", [CheckResult("python", True, "3.13")])
    flows.replace(gate_doctor, "gate_facts", [CheckResult("policy", True, "keys: 1")])
    flows.replace(update, "interrupted_update", [])
    return flows


def test_doctor_shows_what_all_checks_found(examined: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(0, doctor)
    shown = rows(capsys.readouterr().out)
    assert ("✔", "python", "3.13") in shown and ("✔", "policy", "keys:", "1") in shown


def test_doctor_ends_with_1_and_the_remedy_where_something_is_wrong(
    examined: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    examined.replace(update, "interrupted_update", [CheckResult("update", False, "cut off", "git merge --abort")])
    ended_with(1, doctor)
    assert ("✘", "update", "cut", "off", "git", "merge", "--abort") in rows(capsys.readouterr().out)
    ended_with(1, doctor, json=True)
    assert json.loads(capsys.readouterr().out)[-1] == {
        "name": "update",
        "ok": False,
        "found": "cut off",
        "remedy": "git merge --abort",
    }


def test_a_new_service_has_its_folder_and_the_next_step(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(TEMPLATE / "libs" / "common", root / "libs" / "common")
    ended_with(0, new, "orders", kind="worker")
    out = capsys.readouterr().out
    assert "services/orders is a worker" in out and "invoke up" in out
    assert 'kind = "worker"' in (root / "services" / "orders" / "service.toml").read_text(encoding="utf-8")


def test_a_kind_that_would_not_load_is_no_service(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kind = root / "kinds" / "ours"
    kind.mkdir(parents=True)
    (kind / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    (kind / "service.toml").write_text('kind = "ours"\ncolour = 3\n', encoding="utf-8")
    ended_with(2, new, "orders", kind="ours")
    err = "".join(capsys.readouterr().err.split())
    assert f"{kind}/service.toml" in err and "colour" in err
    assert not (root / "services" / "orders").exists()


def test_the_help_of_new_names_every_kind_and_the_teams_own(root: Path) -> None:
    verbs(root)
    assert new.help["kind"].endswith("none yet")
    assert all(kind in new.help["kind"] for kind in list_kinds())
    (root / "kinds" / "ours").mkdir(parents=True)
    (root / "kinds" / "ours" / "service.toml").touch()
    verbs(root)
    assert new.help["kind"].endswith("ours")


@pytest.mark.parametrize("action", ["save", "load"])
def test_caches_are_carried_and_their_sizes_said(
    flows: Flows, root: Path, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    (root / "kept").mkdir()
    (root / "kept" / "pip.tar").write_bytes(b"x")
    flows.replace(cache_mounts, f"{action}_caches", {"pip": 4096})
    ended_with(0, cache, action, folder="kept")
    assert flows.args(f"{action}_caches")[1] == root / "kept"
    assert ("pip", "4096") in rows(capsys.readouterr().out)


def test_where_ci_has_no_cache_yet_nothing_is_started(
    flows: Flows, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended_with(0, cache, "load")
    assert f"{root / '.slipway' / 'cache'} holds no cache" in capsys.readouterr().out
    assert "prepare_environment" not in flows.calls


def test_an_unknown_action_with_caches_is_refused(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    ended_with(2, cache, "clear")
    err = capsys.readouterr().err
    assert "clear" in err and "save or load" in err


@pytest.mark.parametrize(("chosen", "names"), [(None, []), ("service-001", ["service-001"])])
def test_dev_works_on_the_chosen_services(flows: Flows, chosen: str | None, names: list[str]) -> None:
    flows.replace(loop, "run_dev_session")
    ended_with(0, dev, chosen, sync=True, yes=True)
    _, stack, services, _ = flows.args("run_dev_session")
    assert (stack.name, services) == ("dev", names)
    options = flows.options("run_dev_session")
    assert options["syncing"] is True and options["consent"]("Remove the lock?") is True


def test_dev_on_an_unknown_service_is_refused(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(loop, "run_dev_session", AssertionError("nothing is watched"))
    ended_with(2, dev, "nobody")
    err = capsys.readouterr().err
    assert "nobody" in err and NAMES[0] in err


def test_a_verb_is_run_on_a_workspace_from_outside(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "argv", ["before"])
    entry.main([str(root), "mode", "--json"])
    assert [stack["name"] for stack in json.loads(capsys.readouterr().out)] == ["dev", "prod", "staging"]


@pytest.mark.parametrize("words", [[], ["/nowhere", "build"]])
def test_outside_a_workspace_the_usage_is_said(words: list[Any]) -> None:
    with pytest.raises(SystemExit, match="FOLDER VERB"):
        entry.main(words)
