"""What is attached to an image is taken apart with suspicion; a verification is remembered for the same day only."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.commands import findings
from slipway._internal.commands.cosign import PREDICATE_TYPES
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import attestations, evidence, signing_keys
from slipway._internal.gate.attestations import Bundle
from slipway._internal.gate.evidence import AttestationInputs, EvidenceRequirement, VerifiedImage
from slipway._internal.model import workspace
from slipway._internal.model.errors import GateRefused, SlipwayError
from slipway._internal.model.trust import PublicKey, TrustedSigners
from slipway._internal.run.process import ProcessResult
from slipway._internal.run.registry import Manifest, Referrer, Registry

DIGEST = f"sha256:{'a' * 64}"
REF = f"127.0.0.1:5000/shop/release/api@{DIGEST}"
TODAY = date(2026, 11, 23)
TRUST = TrustedSigners((PublicKey(Path("k.pub"), "pem", "ab" * 32),))
MANIFEST = Manifest(b'{"annotations": {"org.opencontainers.image.created": "2026"}}', f"sha256:{'b' * 64}", "")


@pytest.fixture
def shop(tmp_path: Path) -> workspace.Workspace:
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    return workspace.load_workspace(tmp_path)


def content(**instead: Any) -> dict[str, Any]:
    """Return a bundle's content as cosign writes it."""
    statement = {
        "subject": [{"digest": {"sha256": "a" * 64}, "annotations": {"service": "api"}}],
        "predicateType": PREDICATE_TYPES["signature"],
        "predicate": {},
        **instead,
    }
    return {
        "verificationMaterial": {"publicKey": {"hint": "h"}},
        "dsseEnvelope": {"payload": base64.b64encode(json.dumps(statement).encode()).decode()},
    }


def test_a_bundle_says_what_it_is_and_of_which_image() -> None:
    found = attestations.parse_bundle(MANIFEST, json.dumps(content()).encode())
    assert (found.kind, found.key_hint, found.created) == ("signature", "h", "2026")
    assert found.annotations(DIGEST) == {"service": "api"}
    assert found.annotations(f"sha256:{'c' * 64}") == {}


def test_a_bundle_with_a_certificate_has_no_hint_and_another_type_no_kind() -> None:
    other = content(predicateType="https://example.org/other")
    other["verificationMaterial"] = {"certificate": {}}
    found = attestations.parse_bundle(MANIFEST, json.dumps(other).encode())
    assert (found.kind, found.key_hint) == ("", None)


class Stub(Registry):
    """A registry that has one bundle's bytes, whatever they are."""

    def __init__(self, blob: bytes, manifest: bytes = b'{"layers": [{"digest": "x"}]}') -> None:
        self._blob = blob
        self._held: Manifest | None = Manifest(manifest, MANIFEST.digest, "")

    def list_referrers(self, *_: Any, **__: Any) -> list[Referrer]:
        return [Referrer(MANIFEST.digest, "", 1, "application/vnd.dev.sigstore.bundle.v0.3+json")]

    def find_manifest(self, *_: Any) -> Manifest | None:
        return self._held

    def read_blob(self, *_: Any) -> bytes:
        return self._blob


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        json.dumps(content(subject=None)).encode(),
        json.dumps(content(subject=[1])).encode(),
        json.dumps(content(predicateType=[])).encode(),
        json.dumps({**content(), "verificationMaterial": 1}).encode(),
        json.dumps({**content(), "dsseEnvelope": {"payload": "!"}}).encode(),
    ],
)
def test_what_is_no_bundle_is_passed_over(blob: bytes) -> None:
    assert attestations.list_bundles(Stub(blob), REF) == []
    assert attestations.list_bundles(Stub(json.dumps(content()).encode(), b"{}"), REF) == []
    assert len(attestations.list_bundles(Stub(json.dumps(content()).encode()), REF)) == 1


def test_a_key_that_is_exchanged_after_it_was_read_signs_nothing(
    shop: workspace.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shop.root / "k.pub"
    path.write_text("the key of a stranger")
    given: list[str] = []

    def run(argv: list[str], **_: Any) -> ProcessResult:
        given.append(Path(argv[argv.index("--key") + 1]).read_text())
        return ProcessResult(0, "", "")

    monkeypatch.setattr(attestations, "run", run)
    trust = TrustedSigners((PublicKey(path, "the key as it was read", "ab" * 32),))
    bundle = Bundle("sha256:1", "scan", {"subject": []}, trust.keys[0].hint, "", "{}")
    found = attestations.verify_bundle(RunContext(shop, shop.root, {}), bundle, DIGEST, trust)
    assert isinstance(found, attestations.VerifiedBundle) and found.signer == "k.pub"
    assert given == ["the key as it was read"]


class Damaged(Stub):
    """A registry that answers, but has lost the bytes of the bundle; of the image where `gone`."""

    def __init__(self, *, gone: bool = False) -> None:
        super().__init__(b"")
        self._gone = gone

    def read_blob(self, *_: Any) -> bytes:
        raise SlipwayError("404")

    def resolve_digest(self, _repository: str, reference: str) -> str | None:
        return None if self._gone else reference


def test_a_bundle_whose_upload_broke_off_is_passed_over() -> None:
    assert attestations.list_bundles(Damaged(), REF) == []


def test_a_registry_that_has_nothing_any_more_is_no_damaged_bundle() -> None:
    with pytest.raises(SlipwayError):
        attestations.list_bundles(Damaged(gone=True), REF)


def piece(kind: str, made: str, **predicate: Any) -> Bundle:
    """Return a bundle that says something; nothing in it is verified yet."""
    return Bundle(f"sha256:{made}", kind, {"subject": [], "predicate": predicate}, "h", made, "")


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("bundle", "expected"),
    [
        (piece("tests", "2026-11-23T11:00:00Z"), "2026-11-23T11:00:00+00:00"),
        (piece("tests", "2026-11-23T11:00:00Z", finishedOn="2026-11-22T10:00:00Z"), "2026-11-22T10:00:00+00:00"),
        (
            piece("scan", "2026-11-23T11:00:00Z", metadata={"scanFinishedOn": "2026-11-21T10:00:00.5+01:00"}),
            "2026-11-21T09:00:00.500000+00:00",
        ),
        (piece("tests", "2026-11-23T11:00:00Z", finishedOn="soon"), "2026-11-23T11:00:00+00:00"),
        (piece("scan", "2026-11-23T12:09:00Z", metadata=[]), "2026-11-23T12:09:00+00:00"),
        (piece("tests", "2026-11-23T11:00:00Z", finishedOn="2099-01-01T00:00:00Z"), "0001-01-01T00:00:00+00:00"),
        (piece("tests", "2099-01-01T00:00:00Z"), "0001-01-01T00:00:00+00:00"),
        (
            piece("scan", "2026-11-23T11:00:00Z", metadata={"scanFinishedOn": "0001-01-01T00:00:00Z"}),
            "2026-11-23T11:00:00+00:00",
        ),
        (piece("tests", "never"), "0001-01-01T00:00:00+00:00"),
    ],
)
def test_how_old_a_result_is_says_what_was_signed_and_none_is_of_tomorrow(bundle: Bundle, expected: str) -> None:
    assert bundle.observed_at(NOW).isoformat() == expected


OLD, NEW = "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"
GOOD_SCAN = {"SchemaVersion": 2, "ArtifactType": "container_image", "ArtifactName": "api", "Metadata": {"ImageID": "i"}}


def scanned(when: str, report: dict[str, Any]) -> Bundle:
    return piece("scan", when, scanner={"result": report}, metadata={"scanFinishedOn": when})


def result_of(when: str, result: str) -> Bundle:
    return piece("tests", when, result=result, finishedOn=when)


@pytest.fixture
def genuine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every bundle is signed by somebody whom the workspace trusts."""
    monkeypatch.setattr(
        attestations, "verify_bundle", lambda _context, bundle, *_: attestations.VerifiedBundle(bundle, "k.pub")
    )
    passing = findings.ScanVerdict((), (), (), TODAY)
    good = GOOD_SCAN["ArtifactName"]

    def verdict(_scan: Any, report: Mapping[str, Any], *_: Any, **__: Any) -> findings.ScanVerdict:
        if report.get("ArtifactName") != good:
            raise GateRefused("no report")
        return passing

    monkeypatch.setattr(evidence.findings, "evaluate_report", verdict)


@pytest.mark.parametrize(
    ("bundles", "attached_already"),
    [
        ([result_of(NEW, "PASSED"), scanned(NEW, GOOD_SCAN)], {"tests", "scan"}),
        ([result_of(OLD, "FAILED"), result_of(NEW, "PASSED")], {"tests"}),
        ([result_of(OLD, "PASSED"), result_of(NEW, "FAILED")], set()),
        ([result_of(NEW, "whatever")], set()),
        ([piece("tests", NEW)], set()),
        ([scanned(OLD, GOOD_SCAN), scanned(NEW, {})], set()),
        ([scanned(OLD, {}), scanned(NEW, GOOD_SCAN)], {"scan"}),
    ],
)
def test_the_newest_genuine_result_counts_and_one_that_says_no_is_replaced(
    shop: workspace.Workspace, genuine: None, bundles: list[Bundle], attached_already: set[str]
) -> None:
    run_context = RunContext(shop, shop.root, {})
    assert evidence._attached_kinds(run_context, EvidenceRequirement("api", REF), bundles, TRUST) == attached_already


def test_a_signature_without_a_commit_is_none_once_there_is_one(shop: workspace.Workspace, genuine: None) -> None:
    said = {"workspace": "shop", "service": "api", "content": "c"}
    run_context = RunContext(shop, shop.root, {})
    for says, commit, there in ((said, None, True), (said, "f", False), ({**said, "commit": "e"}, "f", True)):
        found = evidence._attached_kinds(
            run_context, EvidenceRequirement("api", REF), [signature(**says)], TRUST, commit
        )
        assert ("signature" in found) is there


@pytest.mark.parametrize(
    ("bundles", "again"),
    [
        ([result_of(NEW, "PASSED"), scanned(NEW, GOOD_SCAN)], set()),
        (
            [result_of(OLD, "PASSED"), result_of(NEW, "FAILED"), scanned(OLD, GOOD_SCAN), scanned(NEW, {})],
            {"tests", "scan"},
        ),
        ([], set()),
    ],
)
def test_a_step_is_done_again_where_the_newest_evidence_says_no(
    shop: workspace.Workspace, genuine: None, monkeypatch: pytest.MonkeyPatch, bundles: list[Bundle], again: set[str]
) -> None:
    monkeypatch.setattr(attestations, "list_bundles", lambda *_: bundles)
    assert evidence.find_failing_kinds(RunContext(shop, shop.root, {}), REF, "api", TRUST, today=TODAY) == again


def test_what_was_verified_is_verified_anew_when_something_was_attached_since(
    shop: workspace.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = frozenset({"sha256:1", "sha256:2"})
    proof = VerifiedImage(REF, "api", "c", None, {"sbom": "sha256:1"}, {}, "k.pub")
    evidence._save_verifications(shop, TRUST, [(proof, listed)], TODAY)
    wanted, run_context = EvidenceRequirement.from_entry("api", proof.lock_entry), RunContext(shop, shop.root, {})
    for there, expected in ((listed, {"api"}), (listed | {"sha256:3"}, set()), (listed - {"sha256:1"}, set())):
        monkeypatch.setattr(attestations, "list_bundle_digests", lambda *_, there=there: there)
        assert evidence.cached_verifications(run_context, [wanted], TRUST, today=TODAY) == expected


def test_only_what_the_lock_names_is_read() -> None:
    registry_stub = Stub(json.dumps(content()).encode())
    assert len(attestations.list_bundles(registry_stub, REF, {MANIFEST.digest})) == 1
    assert attestations.list_bundles(registry_stub, REF, {DIGEST}) == []


def signature(**says: str) -> Bundle:
    statement = {"subject": [{"digest": {"sha256": "a" * 64}, "annotations": says}]}
    return Bundle("sha256:1", "signature", statement, "h", "", "")


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ({"workspace": "shop", "service": "api", "content": "c", "commit": "f"}, ""),
        ({"workspace": "shop", "service": "api", "content": "d", "commit": "f"}, "content `d`, not `c`"),
        ({"workspace": "stall", "service": "api", "content": "c", "commit": "f"}, "workspace `stall`, not `shop`"),
        ({"service": "api", "content": "c", "commit": "f"}, "workspace ``, not `shop`"),
        ({"workspace": "shop", "service": "api", "content": "c"}, "commit ``, not `f`"),
    ],
)
def test_a_signature_has_to_say_what_the_lock_says(
    shop: workspace.Workspace, says: dict[str, str], expected: str
) -> None:
    wanted = EvidenceRequirement("api", REF, "c", "f")
    found = evidence._signature_mismatch(shop, wanted, signature(**says), "signature", DIGEST)
    assert expected in found if expected else not found


def test_a_signature_about_no_content_is_none(shop: workspace.Workspace) -> None:
    found = evidence._signature_mismatch(
        shop, EvidenceRequirement("api", REF), signature(workspace="shop", service="api"), "signature", DIGEST
    )
    assert "name the content" in found


def test_the_signature_says_the_commit_only_where_there_is_one(shop: workspace.Workspace) -> None:
    said = evidence.signature_annotations(shop, AttestationInputs("api", "c", None, {}))
    assert said == {"workspace": "shop", "service": "api", "content": "c"}
    assert evidence.signature_annotations(shop, AttestationInputs("api", "c", "f", {}))["commit"] == "f"


def test_the_seal_of_a_verification_differs_with_all_that_it_depends_on(shop: workspace.Workspace) -> None:
    wanted = EvidenceRequirement("api", REF, "c", "f", {"sbom": "sha256:1"})
    others = [
        evidence._verification_key(shop, TRUST, wanted),
        evidence._verification_key(shop, TrustedSigners(), wanted),
        evidence._verification_key(shop, TRUST, replace(wanted, service="web")),
        evidence._verification_key(shop, TRUST, replace(wanted, ref=REF.replace("api", "web"))),
        evidence._verification_key(shop, TRUST, replace(wanted, content="d")),
        evidence._verification_key(shop, TRUST, replace(wanted, commit=None)),
        evidence._verification_key(shop, TRUST, replace(wanted, evidence={"sbom": "sha256:2"})),
        evidence._verification_key(_stricter(shop), TRUST, wanted),
    ]
    assert len(set(others)) == len(others)


def _stricter(shop: workspace.Workspace) -> workspace.Workspace:
    path = shop.root / "workspace.toml"
    path.write_text(path.read_text() + "[scan]\nignore-unfixed = false\n")
    return workspace.load_workspace(shop.root)


def test_what_is_remembered_is_forgotten_the_next_day(shop: workspace.Workspace) -> None:
    proof = VerifiedImage(REF, "api", "c", None, {"sbom": "sha256:1"}, {}, "k.pub")
    evidence._save_verifications(shop, TRUST, [(proof, frozenset())], TODAY)
    evidence._save_verifications(shop, TRUST, [(replace(proof, service="web"), frozenset())], TODAY)
    assert len(evidence._load_verifications(shop, TODAY)) == 2
    assert not evidence._load_verifications(shop, date(2026, 11, 24))
    evidence._verifications_path(shop).write_text('{"day": 1')
    assert not evidence._load_verifications(shop, TODAY)


@pytest.mark.parametrize(
    ("trusted", "environment", "settings", "due"),
    [
        (TrustedSigners(), {}, "", True),
        (TrustedSigners(), {"CI": "true"}, "", False),
        (TRUST, {}, "", False),
        (TrustedSigners(), {}, '[signing]\nmode = "keyless"\n', False),
        (TrustedSigners(), {}, '[signing]\nkey = "awskms:///alias/shop"\n', False),
    ],
)
def test_the_first_pair_is_made_unasked_only_for_a_person_whom_nobody_came_before(
    shop: workspace.Workspace, trusted: TrustedSigners, environment: dict[str, str], settings: str, due: bool
) -> None:
    path = shop.root / "workspace.toml"
    path.write_text(path.read_text() + settings)
    here = workspace.load_workspace(shop.root)
    assert signing_keys.is_first_pair_due(here, trusted, environment) is due
    signing_keys.key_file(here).parent.mkdir(parents=True, exist_ok=True)
    signing_keys.key_file(here).touch()
    assert not signing_keys.is_first_pair_due(here, trusted, environment)
