"""Which mode suits a stack: each reason of the rule, and what is known of a stack by its records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from slipway._internal.insight.advice import StackProfile, advise_modes, choose_mode
from slipway._internal.model import lock
from slipway._internal.model.run_record import RecordedStep, RunRecord
from slipway._internal.model.workspace import load_workspace
from tests import synthetic

SHORT: dict[str, Any] = {"builds": 9, "deploys": 12, "build_seconds": 4.0, "deploy_seconds": 2.0, "changed": 1}
LONG: dict[str, Any] = {**SHORT, "build_seconds": 300.0, "deploy_seconds": 20.0}


@pytest.mark.parametrize(
    ("known", "advised", "words"),
    [
        ({"protected": True, "mode": "external", **SHORT}, "external", "protected"),
        ({"protected": True, "mode": "hybrid"}, "external", "protected"),
        ({"gated": True, "mode": "external", **SHORT}, "external", "has passed the gate"),
        ({"others": ("dev",), **SHORT}, "external", "dev builds the same images: a change is built, 4.0 s each time,"),
        ({"others": ("dev", "test")}, "external", "dev, test build the same images: a change is built once more here"),
        ({}, "inline", "0 of the 3 runs"),
        ({"builds": 2, "mode": "external"}, "external", "2 of the 3 runs"),
        ({"services": 12, "builds": 1}, "hybrid", "12 services are many"),
        ({"services": 12, "mode": "external"}, "external", "no reason to switch yet"),
        (SHORT, "inline", "building took 4.0 s of 6.0 s (67 %) in 9 of 12 deploys: short enough"),
        ({**SHORT, "mode": "external"}, "inline", "in 9 builds: short enough"),
        (
            LONG,
            "external",
            "300.0 s of 320.0 s (94 %) in 9 of 12 deploys: with images built outside, a deploy takes 20.0 s",
        ),
        ({**LONG, "deploy_seconds": 400.0}, "inline", "43 %"),
        ({**LONG, "services": 20}, "hybrid", "1 of 20 services change at a time: lock the others"),
        ({**LONG, "services": 20, "changed": 15}, "external", "300.0 s"),
        ({**SHORT, "services": 20, "changed": 2}, "hybrid", "2 of 20"),
        ({**SHORT, "services": 20, "changed": 9}, "external", "9 of 20 services change at a time: that is a lot"),
        ({**SHORT, "team": 5}, "inline", "short enough"),
        ({**SHORT, "team": 9}, "external", "9 people work here and building took 4.0 s"),
        ({**SHORT, "team": 9, "deploy_seconds": 9.0}, "inline", "short enough"),
    ],
)
def test_the_first_reason_that_holds_decides(known: dict[str, Any], advised: str, words: str) -> None:
    given: dict[str, Any] = {"stack": "dev", "mode": "inline", "protected": False, "services": 3, **known}
    advice = choose_mode(StackProfile(**given))
    assert advice.advised == advised
    assert words in advice.why
    switches = advised != given["mode"]
    assert advice.command == (f"invoke mode {advised} --stack dev" if switches else "")


def deploy(began: float, *built: str, stack: str = "dev", seconds: float = 10.0, result: str = "done") -> RunRecord:
    """Return a deploy that built these services at once, each in six seconds, and one that was cached."""
    services = {name: (RecordedStep("[run 1/1] RUN x", "step", 1.0, 7.0),) for name in built}
    services["service-001"] = (RecordedStep("[run 1/1] RUN x", "step", 1.0, 1.0, "cached"),)
    services["python-run"] = (RecordedStep("[run 1/1] RUN x", "step", 0.0, 1.0),)
    return RunRecord("deploy", began, seconds, result, stack=stack, mode="inline", services=services)  # type: ignore[arg-type]


def test_what_is_known_comes_from_good_runs_that_built_a_service(tmp_path: Path) -> None:
    root = synthetic.workspace(tmp_path, 4)
    synthetic.keep(
        root,
        deploy(1000.0, "service-000", "service-002"),
        deploy(2000.0, "service-000", result="failed", seconds=999.0),
        deploy(3000.0),
        deploy(4000.0, "service-000", "service-002"),
        deploy(1000.0 + 86400, "service-000", "service-002"),
    )
    [advice] = advise_modes(load_workspace(root))
    known = advice.profile
    assert (known.deploys, known.builds, known.changed, known.days) == (4, 3, 2, 1)
    assert (known.build_seconds, known.deploy_seconds) == (6, 3)
    assert advice.advised == "inline"
    assert "building took 6.0 s of 9.0 s (67 %) in 3 of 4 deploys" in advice.why


def test_a_stack_that_takes_locked_images_is_judged_by_builds_outside(tmp_path: Path) -> None:
    root = synthetic.workspace(tmp_path, 2)
    (root / "infra" / "Pulumi.dev.yaml").write_text(
        "config:\n  slipway:images: external\n  slipway:protected: false\n", encoding="utf-8"
    )
    one = deploy(1000.0, "service-000", seconds=8.0)
    builds = [msgspec.structs.replace(one, what="build", stack="", began=one.began + n) for n in range(3)]
    synthetic.keep(root, *builds, RunRecord("deploy", 2000.0, 2.0, "done", stack="dev"))
    [advice] = advise_modes(load_workspace(root))
    assert (advice.profile.builds, advice.profile.build_seconds, advice.profile.deploy_seconds) == (3, 6, 2)
    assert (advice.advised, advice.command) == ("inline", "invoke mode inline --stack dev")


def test_of_stacks_that_build_the_same_the_one_deployed_most_goes_on(tmp_path: Path) -> None:
    root = synthetic.workspace(tmp_path, 2)
    for name in ("qa", "test"):
        (root / "infra" / f"Pulumi.{name}.yaml").write_text(
            "config:\n  slipway:images: inline\n  slipway:protected: false\n", encoding="utf-8"
        )
    synthetic.keep(root, *(deploy(1000.0 + number, "service-000", stack="qa") for number in range(4)))
    found = {advice.profile.stack: advice for advice in advise_modes(load_workspace(root))}
    assert {name: advice.advised for name, advice in found.items()} == {
        "dev": "external",
        "qa": "inline",
        "test": "external",
    }
    assert found["dev"].profile.others == ("qa",)
    assert found["test"].profile.others == ("qa", "dev")


def test_a_lock_with_evidence_is_of_the_gate(tmp_path: Path) -> None:
    root = synthetic.workspace(tmp_path, 1)
    entry = lock.LockEntry(f"r/x@sha256:{'0' * 64}", "c" * 64, evidence={"sbom": f"sha256:{'1' * 64}"})
    lock.save(root, lock.Lock("dev", services={"service-000": entry}))
    [advice] = advise_modes(load_workspace(root))
    assert advice.profile.gated
    assert advice.as_dict()["command"] == "invoke mode external --stack dev"
