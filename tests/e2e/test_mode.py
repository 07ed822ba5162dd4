"""The switch between builds inside Pulumi and builds outside of it: nothing that runs changes by it."""

from __future__ import annotations

import http.client
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import NAME, REGISTRY
from tests.e2e.workspace import Workspace

from slipway._internal.toolchain import builder

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

SERVICES = {"api", "web", "worker"}


def test_switching_back_and_forth_replaces_no_container(deployed: Workspace) -> None:
    before, digests = deployed.ids(), running(deployed)

    ran = deployed.invoke("mode", "external")
    assert ran.code == 0, ran.output
    for service in SERVICES:
        assert digests[service] in ran.output, "the digest that runs now stands in what would change"
    assert "invoke build" in ran.output and "invoke push" in ran.output
    modes = {each["name"]: each["images"] for each in deployed.invoke("mode", "--json").json()}
    assert modes["dev"] == "external"

    refused = deployed.invoke("deploy")
    assert refused.code == 4, refused.output
    assert all(service in refused.output for service in SERVICES)
    assert "invoke build" in refused.output and "invoke push" in refused.output

    built = deployed.invoke("build")
    assert built.code == 0, built.output
    pushed = deployed.invoke("push")
    assert pushed.code == 0, pushed.output
    lock = json.loads((deployed.root / "deploy" / "dev.lock.json").read_text(encoding="utf-8"))
    assert lock["stack"] == "dev"
    assert {name: entry["ref"].partition("@")[2] for name, entry in lock["services"].items()} == digests
    assert all(len(entry["content"]) == 64 for entry in lock["services"].values())

    for mode in ("external", "hybrid", "inline"):
        assert deployed.invoke("mode", mode).code == 0
        said = deployed.invoke("deploy", "--json").json()
        assert said["mode"] == mode
        assert deployed.ids() == before
        assert running(deployed) == digests


@pytest.fixture
def locked(deployed: Workspace) -> Workspace:
    """A workspace whose dev stack is locked and in external mode."""
    for words in (("build",), ("push",), ("mode", "external")):
        ran = deployed.invoke(*words)
        assert ran.code == 0, ran.output
    return deployed


def test_in_external_mode_no_builder_is_contacted(locked: Workspace, tmp_path: Path) -> None:
    before = locked.ids()
    # In this state folder no BuildKit runs and no builder is known; whoever asked for one would start it.
    elsewhere = {"XDG_STATE_HOME": str(tmp_path)}
    for words in (("preview",), ("deploy",)):
        ran = locked.invoke(*words, **elsewhere)
        assert ran.code == 0, ran.output
        assert "BuildKit" not in ran.output and "buildkitd" not in ran.output
    assert not (tmp_path / "slipway" / "buildkitd").exists()
    assert not (tmp_path / "slipway" / "buildx").exists()
    assert locked.ids() == before


def test_a_change_is_not_deployed_before_it_is_built_and_pushed(locked: Workspace) -> None:
    before = locked.ids()
    barometer = f"barometer {time.time_ns()}"  # that no earlier run has pushed
    locked.edit("services/api/app/main.py", '"lantern"', f'"{barometer}"')
    assert locked.invoke("deploy").code == 0
    assert locked.ids() == before
    unbuilt = locked.invoke("push", "api")
    assert unbuilt.code == 4, unbuilt.output
    assert "api" in unbuilt.output and "invoke build" in unbuilt.output

    why = locked.invoke("build", "--why")
    assert why.code == 0, why.output
    assert "app/main.py" in why.output
    assert locked.invoke("push").code == 0
    assert locked.invoke("deploy", "--json").json()["changed"]
    assert barometer in locked.get("/api/items")[1]
    assert {service for service, old in before.items() if locked.ids()[service] != old} == {"api"}


def test_the_environment_overrides_the_mode_for_one_run_and_it_is_said(deployed: Workspace) -> None:
    ran = deployed.invoke("up", SLIPWAY_IMAGES="hybrid")
    assert ran.code == 0, ran.output
    assert "SLIPWAY_IMAGES=hybrid" in ran.output
    modes = {each["name"]: each for each in deployed.invoke("mode", "--json", SLIPWAY_IMAGES="hybrid").json()}
    assert modes["dev"]["images"] == "hybrid" and modes["dev"]["overridden"]
    nonsense = deployed.invoke("up", SLIPWAY_IMAGES="sideways")
    assert nonsense.code == 2
    assert "SLIPWAY_IMAGES" in nonsense.output and "inline, external, hybrid" in nonsense.output


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"ref"', '"reff"', 1),
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"stack": "dev"', '"stack": "prod"'),
        lambda text: text.replace("@sha256:", ":v", 1),
    ],
    ids=["a key nobody knows", "cut off", "another stack's", "a tag instead of a digest"],
)
def test_a_lock_that_was_tampered_with_is_refused(tampered: Workspace, damage: object) -> None:
    lock = tampered.root / "deploy" / "dev.lock.json"
    assert callable(damage)
    lock.write_text(damage(lock.read_text(encoding="utf-8")), encoding="utf-8")
    ran = tampered.invoke("deploy")
    assert ran.code == 4, ran.output
    assert "dev.lock.json" in ran.output and "remedy" in ran.output


@pytest.fixture
def tampered(workspace: Workspace) -> Workspace:
    """An external dev stack with a lock that was written by hand: nothing of it is ever deployed."""
    entry = {"content": "0" * 64, "commit": None}
    entries = {name: {"ref": f"{REGISTRY}/{NAME}/{name}@sha256:{'0' * 64}", **entry} for name in SERVICES}
    lock = {"stack": "dev", "version": 1, "services": entries}
    (workspace.root / "deploy").mkdir(exist_ok=True)
    (workspace.root / "deploy" / "dev.lock.json").write_text(json.dumps(lock), encoding="utf-8")
    assert workspace.invoke("mode", "external").code == 0
    return workspace


def test_a_locked_digest_that_the_registry_does_not_have_is_said(tampered: Workspace) -> None:
    before = tampered.ids()
    ran = tampered.invoke("deploy")
    assert ran.code in (1, 4), ran.output
    assert "0" * 64 in ran.output and "remedy" in ran.output
    assert tampered.ids() == before


def test_a_protected_stack_takes_no_inline_build_and_asks_before_a_deploy(workspace: Workspace) -> None:
    for words, environment in (
        (("mode", "inline", "--stack", "prod"), {}),
        (("deploy", "--stack", "prod", "--yes"), {"SLIPWAY_IMAGES": "inline"}),
        (("deploy", "--stack", "prod"), {}),
        (("down", "--stack", "prod"), {}),
    ):
        ran = workspace.invoke(*words, **environment)
        assert ran.code == 2, ran.output
        assert "protected" in ran.output
    assert workspace.git("status", "--porcelain") == ""
    unlocked = workspace.invoke("deploy", "--stack", "prod", "--yes")
    assert unlocked.code == 4, unlocked.output
    assert "invoke ship --stack prod" in unlocked.output


@pytest.fixture
def cold(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a builder that has never built anything; it is ended afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path))
        yield {"XDG_STATE_HOME": str(tmp_path)}
        builder.stop_builder()


def test_a_builder_with_a_cold_cache_gives_the_digests_that_run(deployed: Workspace, cold: dict[str, str]) -> None:
    """What runs can be built again elsewhere: a cold builder gives the digests that Pulumi's own builds had."""
    digests = running(deployed)
    forget(deployed)
    refused = deployed.invoke("push", **cold)
    assert refused.code == 4, refused.output
    assert "invoke build" in refused.output, "what this machine knew of the images it has forgotten by then"
    built = deployed.invoke("build", **cold)
    assert built.code == 0, built.output
    pushed = deployed.invoke("push", **cold)
    assert pushed.code == 0, pushed.output
    lock = json.loads((deployed.root / "deploy" / "dev.lock.json").read_text(encoding="utf-8"))
    assert {name: entry["ref"].partition("@")[2] for name, entry in lock["services"].items()} == digests


def forget(workspace: Workspace) -> None:
    """Take the services' images out of the registry, and what was built of them out of the workspace."""
    shutil.rmtree(workspace.root / ".slipway" / "oci", ignore_errors=True)
    for service, digest in running(workspace).items():
        connection = http.client.HTTPConnection(REGISTRY, timeout=30)
        connection.request("DELETE", f"/v2/{NAME}/{service}/manifests/{digest}")
        assert connection.getresponse().status == 202
        connection.close()


def running(workspace: Workspace) -> dict[str, str]:
    """Return the digest of each service's running container."""
    found = workspace.containers()
    return {service: found[service].image.partition("@")[2] for service in SERVICES}
