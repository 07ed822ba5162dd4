"""What was deployed when and how it ended, and the way back: by digest, without a build."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.workspace import Workspace

from slipway._internal.context.run_context import current_environment
from slipway._internal.model.workspace import load_workspace
from slipway._internal.release.releases import needed_digests

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

SERVICES = {"api", "web", "worker"}
DIES = "import sys\nsys.exit('no bread today')\n"


def releases(workspace: Workspace) -> list[dict[str, Any]]:
    return list(workspace.invoke("releases", "--json").json())


def results(workspace: Workspace) -> dict[str, str]:
    return {each["id"]: each["result"] for each in releases(workspace)}


def running(workspace: Workspace) -> dict[str, str]:
    found = workspace.containers()
    return {service: found[service].image for service in SERVICES}


def built(workspace: Workspace) -> dict[str, tuple[int, int]]:
    """Return every build's log with its size and when it was written."""
    logs = sorted((workspace.root / ".slipway" / "logs").glob("*.build.log"))
    return {log.name: (log.stat().st_size, log.stat().st_mtime_ns) for log in logs}


@pytest.fixture
def changed(deployed: Workspace) -> Workspace:
    """A workspace whose live release has an API that no earlier one has."""
    deployed.edit("services/api/app/main.py", '"lantern"', f'"almanac {time.time_ns()}"')
    assert deployed.up()["changed"]
    return deployed


def test_releases_say_who_deployed_what_from_where_and_how_it_ended(changed: Workspace) -> None:
    newest, *earlier = releases(changed)
    assert newest["result"] == "live"
    before = next(each for each in earlier if each["result"] == "good")  # other tests leave releases that failed
    assert newest["digests"] == running(changed)
    assert newest["digests"]["api"] != before["digests"]["api"]
    assert newest["digests"]["web"] == before["digests"]["web"]
    assert newest["commit"] == changed.git("rev-parse", "HEAD").strip()
    assert newest["dirty"] and newest["actor"]
    shown = changed.invoke("releases")
    assert shown.code == 0, shown.output
    line = shown.line(newest["id"])
    assert "live" in line and newest["commit"][:10] + "*" in line
    assert newest["digests"]["api"].partition("@sha256:")[2][:12] in line


def test_nothing_changed_is_no_release_and_nothing_to_change(changed: Workspace) -> None:
    before = releases(changed)
    said = changed.up()
    assert not said["changed"] and set(said["operations"]) == {"same"}
    assert "nothing would change" in changed.invoke("preview").output
    assert releases(changed) == before


def test_an_environment_alone_is_no_release(changed: Workspace) -> None:
    before = releases(changed)
    changed.env("api", "COLOUR", "blue")
    assert changed.up()["changed"]
    assert releases(changed) == before


def test_a_release_that_fails_is_failed_and_the_old_one_is_still_live(changed: Workspace) -> None:
    before, ran = releases(changed), running(changed)
    main = changed.root / "services" / "api" / "app" / "main.py"
    healthy = main.read_text(encoding="utf-8")
    main.write_text(f"# {time.time_ns()}\n{DIES}", encoding="utf-8")
    failed = changed.invoke("up")
    assert failed.code == 1, failed.output
    newest, *others = releases(changed)
    assert newest["result"] == "failed"
    # Of many, the last of each list may be the live one, which is shown however old it is.
    assert [each["id"] for each in others][:10] == [each["id"] for each in before][:10]
    assert others[0]["result"] == "live"
    assert running(changed) == ran
    refused = changed.invoke("rollback", newest["id"])
    assert refused.code == 2 and "never went live" in refused.output, refused.output

    main.write_text(healthy, encoding="utf-8")
    assert changed.up()["healthy"]
    again, *_ = releases(changed)
    assert again["digests"] == others[0]["digests"] and again["id"] != others[0]["id"]
    told = results(changed)
    assert (told[again["id"]], told[newest["id"]], told[others[0]["id"]]) == ("live", "failed", "good")


def test_after_a_failed_release_a_rollback_restores_the_live_one(changed: Workspace) -> None:
    live, ran = releases(changed)[0], running(changed)
    (changed.root / "services" / "api" / "app" / "main.py").write_text(f"# {time.time_ns()}\n{DIES}", encoding="utf-8")
    assert changed.invoke("up").code == 1
    back = changed.invoke("rollback")
    assert back.code == 0, back.output
    assert live["id"] in back.output
    assert running(changed) == ran
    newest = releases(changed)[0]
    assert newest["result"] == "live" and newest["digests"] == live["digests"]


def test_a_rollback_runs_the_last_good_digests_without_a_build(changed: Workspace, tmp_path: Path) -> None:
    new, old, *_ = releases(changed)
    text = changed.get("/api/items")[1]
    logs = built(changed)
    # In this state folder no BuildKit runs and no builder is known; whoever asked for one would start it.
    elsewhere = {"XDG_STATE_HOME": str(tmp_path)}
    dry = changed.invoke("rollback", "--dry", **elsewhere)
    assert dry.code == 0 and old["id"] in dry.output, dry.output
    assert running(changed) == new["digests"]
    assert not (changed.root / "deploy" / "dev.lock.json").exists()

    back = changed.invoke("rollback", **elsewhere)
    assert back.code == 0, back.output
    assert old["id"] in back.output and "inline" in back.output
    assert running(changed) == old["digests"]
    assert changed.get("/api/items")[1] != text
    assert built(changed) == logs
    assert not (tmp_path / "slipway" / "buildkitd").exists()
    lock = json.loads((changed.root / "deploy" / "dev.lock.json").read_text(encoding="utf-8"))
    assert {name: entry["ref"] for name, entry in lock["services"].items()} == old["digests"]
    assert all(len(entry["content"]) == 64 for entry in lock["services"].values())
    assert {each["name"]: each["images"] for each in changed.invoke("mode", "--json").json()}["dev"] == "inline"

    unknown = changed.invoke("rollback", "r-19700101-000000-0000")
    assert unknown.code == 2, unknown.output
    assert new["id"] in unknown.output and old["id"] in unknown.output

    forth = changed.invoke("rollback", new["id"])
    assert forth.code == 0, forth.output
    assert running(changed) == new["digests"]
    assert changed.get("/api/items")[1] == text
    assert changed.invoke("rollback", new["id"]).code == 0
    assert running(changed) == new["digests"]


def test_a_stack_that_was_never_deployed_has_no_releases(deployed: Workspace) -> None:
    assert deployed.invoke("releases", "--stack", "staging", "--json").json() == []
    assert "Nothing was deployed" in deployed.invoke("releases", "--stack", "staging").output
    back = deployed.invoke("rollback", "--stack", "staging")
    assert back.code == 2 and "no good release" in back.output, back.output
    assert deployed.invoke("releases", "--stack", "nowhere").code == 2


def test_every_digest_of_a_kept_release_is_needed(changed: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in changed.environment.items():
        monkeypatch.setenv(name, value)
    needed = needed_digests(current_environment(load_workspace(changed.root)))
    kept = {ref.partition("@")[2] for each in releases(changed) for ref in each["digests"].values()}
    assert kept and kept <= set(needed)


def test_a_promotion_of_what_went_through_no_gate_is_refused(deployed: Workspace) -> None:
    for words, code in (
        (("promote",), 2),
        (("promote", "--from", "dev", "--to", "dev"), 2),
        (("promote", "--from", "dev", "--to", "nowhere"), 2),
        (("promote", "--from", "dev", "--to", "staging"), 4),
    ):
        ran = deployed.invoke(*words)
        assert ran.code == code, ran.output
        assert "remedy" in ran.output
    assert deployed.invoke("build").code == 0
    assert deployed.invoke("push").code == 0
    ungated = deployed.invoke("promote", "--from", "dev", "--to", "staging", "--dry")
    assert ungated.code == 4 and "passed a gate" in ungated.output, ungated.output
    assert not (deployed.root / "deploy" / "staging.lock.json").exists()
