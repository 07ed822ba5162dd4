"""What the gate's verbs ask for, print and end with; the gate itself is a stand-in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.unit.tasks.conftest import DIGEST, NAMES, REF, Flows, ended_with, rows

from slipway._internal.build import build
from slipway._internal.build.build import ShippedImage
from slipway._internal.gate import admission, checks, gate, scan, signing_keys, verification
from slipway._internal.gate.evidence import VerifiedImage
from slipway._internal.gate.scan import Database
from slipway._internal.gate.signing_keys import KeyFiles
from slipway._internal.model.errors import EvidenceError, GateRefused
from slipway._internal.tasks import gate as verbs

SHIPPED = [ShippedImage("service-000", REF, "shipped")]
PLANS = [SimpleNamespace(service=SimpleNamespace(name=name), content="c" * 64) for name in NAMES]
VERIFIED = VerifiedImage(REF, "service-000", "c" * 64, "f" * 40, {"sbom": DIGEST}, {}, "key 1")


def test_ship_sends_the_chosen_services_through_the_gate_with_scanner_and_signer(
    flows: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    flows.replace(gate, "ship_services", SHIPPED)
    ended_with(0, verbs.ship, services="service-000", version="1.4.0")
    assert flows.services("ship_services") == ["service-000"]
    assert flows.args("ship_services")[2].name == "staging"
    assert flows.options("ship_services") == {"version": "1.4.0", "dry": False}
    assert flows.options("prepare_environment") == {
        "building": True,
        "preview": False,
        "gate": ("trivy", "cosign"),
    }
    out = capsys.readouterr().out
    assert ("service-000", REF, "shipped") in rows(out)
    assert "staging is locked" in out and "invoke deploy --stack staging" in out


def test_a_dry_ship_does_not_say_that_a_stack_is_locked(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(gate, "ship_services", SHIPPED)
    ended_with(0, verbs.ship, stack="prod", dry=True)
    assert flows.options("ship_services")["dry"] is True
    assert flows.options("prepare_environment")["preview"] is True
    out = capsys.readouterr().out
    assert "Nothing was done." in out and "locked" not in out


def test_a_shipment_as_json_is_all_that_standard_output_has(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(gate, "ship_services", lambda *args, **_options: args[3].say("a step") or SHIPPED)
    ended_with(0, verbs.ship, json=True)
    assert json.loads(capsys.readouterr().out) == [{"service": "service-000", "ref": REF, "note": "shipped"}]


def test_a_refusal_of_the_gate_ends_with_its_own_exit_code(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(gate, "ship_services", GateRefused("service-000 has a hole", remedy="Mend it."))
    ended_with(GateRefused.exit_code, verbs.ship)
    out, err = capsys.readouterr()
    assert "service-000 has a hole" in err and "Mend it." in err and "locked" not in out


def test_each_chosen_services_tests_run_and_where_the_results_lie_is_said(
    flows: Flows, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flows.replace(build, "plan_builds", PLANS)
    flows.replace(checks, "rerun_tests")
    ended_with(0, verbs.test)
    assert sorted(args[1].service.name for args, _ in flows.calls["rerun_tests"]) == NAMES
    results = root / ".slipway" / "gate" / "service-000" / ("c" * 64) / "junit.xml"
    assert ("service-000", str(results)) in rows(capsys.readouterr().out)


def database(root: Path) -> Database:
    return Database(root, "ghcr.io/db", "2026-11-30T06:00:00Z", datetime(2026, 12, 1, tzinfo=UTC))


def test_scan_prints_each_services_findings_and_that_the_policy_refuses_nothing(
    flows: Flows, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flows.replace(scan, "ensure_database", database(root))
    flows.replace(checks, "require_built", PLANS)
    flows.replace(checks, "rescan", lambda _context, plan, *_rest: f"findings of {plan.service.name}")
    ended_with(0, verbs.scan)
    assert flows.options("prepare_environment") == {"building": False, "gate": ("trivy",)}
    out = capsys.readouterr().out
    assert "service-000\nfindings of service-000\n" in out and "service-001\nfindings of service-001\n" in out
    assert f"The policy refuses nothing. Results: {root / '.slipway' / 'gate'}" in out


def test_scan_update_gets_the_database_and_scans_nothing(
    flows: Flows, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flows.replace(scan, "ensure_database", database(root))
    flows.replace(checks, "require_built", AssertionError("nothing is scanned"))
    ended_with(0, verbs.scan, update=True)
    assert "2026-11-30T06:00:00Z" in capsys.readouterr().out


def test_sbom_lists_what_was_built_and_says_where_the_lists_are(
    flows: Flows, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flows.replace(checks, "require_built", PLANS[:1])
    flows.replace(checks, "list_packages")
    ended_with(0, verbs.sbom, "service-000")
    assert flows.services("require_built") == ["service-000"]
    assert [args[1].service.name for args, _ in flows.calls["list_packages"]] == ["service-000"]
    lists = root / ".slipway" / "gate" / "service-000" / ("c" * 64) / "sbom.*.json"
    assert ("service-000", str(lists)) in rows(capsys.readouterr().out)


def test_what_was_never_built_cannot_be_listed(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(checks, "require_built", GateRefused("service-001 is not built", remedy="invoke build --local"))
    ended_with(GateRefused.exit_code, verbs.sbom)
    assert "invoke build --local" in capsys.readouterr().err


def test_sign_signs_what_a_stacks_registry_holds(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(gate, "sign_pushed", [ShippedImage("service-000", REF, "signed")])
    ended_with(0, verbs.sign, "service-000", stack="prod")
    assert (flows.services("sign_pushed"), flows.args("sign_pushed")[2].name) == (["service-000"], "prod")
    assert flows.options("prepare_environment") == {"building": False, "gate": ("cosign",)}
    assert ("service-000", REF, "signed") in rows(capsys.readouterr().out)


def test_verify_says_who_signed_each_image_and_what_evidence_it_has(
    flows: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    flows.replace(verification, "verify_stack", {"service-000": VERIFIED})
    ended_with(0, verbs.verify, "service-000", stack="prod")
    assert (flows.args("verify_stack")[1].name, flows.services("verify_stack", 2)) == ("prod", ["service-000"])
    out = capsys.readouterr().out
    assert ("service-000", REF, "key", "1", "sbom") in rows(out)
    assert "prod locks is verified" in out


def test_evidence_as_json_names_content_commit_and_signer(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(verification, "verify_stack", {"service-000": VERIFIED})
    ended_with(0, verbs.verify, json=True)
    assert json.loads(capsys.readouterr().out) == [
        {
            "service": "service-000",
            "ref": REF,
            "content": "c" * 64,
            "commit": "f" * 40,
            "signer": "key 1",
            "evidence": {"sbom": DIGEST},
        }
    ]


def test_a_lock_that_does_not_verify_ends_with_the_code_of_evidence(
    flows: Flows, capsys: pytest.CaptureFixture[str]
) -> None:
    flows.replace(verification, "verify_stack", EvidenceError("service-000: no signature", remedy="Ship it."))
    ended_with(EvidenceError.exit_code, verbs.verify)
    out, err = capsys.readouterr()
    assert "no signature" in err and "is verified" not in out


def test_new_keys_are_said_with_what_to_commit_and_what_to_keep(
    flows: Flows, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = KeyFiles(root / "policy" / "cosign.pub", root / ".slipway" / "cosign.key")
    flows.replace(signing_keys, "ensure_key_pair", pair)
    flows.replace(admission, "write_policies", [root / "policy" / "kubernetes" / "images.yaml"])
    ended_with(0, verbs.keys)
    out = capsys.readouterr().out
    assert f"Made {pair.private}" in out and "out of git" in out
    assert "Wrote policy/cosign.pub: commit it." in out and "Wrote policy/kubernetes/images.yaml: commit it." in out


def test_keys_that_are_there_and_trusted_need_nothing(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(signing_keys, "ensure_key_pair", None)
    flows.replace(admission, "write_policies", [])
    ended_with(0, verbs.keys)
    out = capsys.readouterr().out
    assert "There is a key pair" in out and "Wrote" not in out


def test_without_keys_to_sign_with_only_the_policies_are_written(
    flows: Flows, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (root / "workspace.toml").read_text(encoding="utf-8") + '[signing]\nmode = "keyless"\n'
    (root / "workspace.toml").write_text(settings, encoding="utf-8")
    flows.replace(signing_keys, "ensure_key_pair", AssertionError("keyless has no keys"))
    flows.replace(admission, "write_policies", [root / "policy" / "kubernetes" / "images.yaml"])
    ended_with(0, verbs.keys)
    out = capsys.readouterr().out
    assert "Wrote policy/kubernetes/images.yaml" in out and "Made" not in out
