"""Evidence from its attachment to its verification, in a registry in memory and with a cosign that only writes down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.unit.gate.test_evidence import GOOD_SCAN, REF, TODAY, TRUST

from slipway._internal.commands import findings
from slipway._internal.commands.cosign import COSIGN_TYPE_NAMES, EVIDENCE_KINDS, PREDICATE_TYPES
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import attestations, evidence
from slipway._internal.gate.attestations import Bundle
from slipway._internal.gate.evidence import AttestationInputs, EvidenceRequirement, VerifiedImage
from slipway._internal.gate.signing_keys import Signer
from slipway._internal.model import trust, workspace
from slipway._internal.model.errors import EvidenceError, GateRefused, SlipwayError
from slipway._internal.model.trust import TrustedSigners
from slipway._internal.run.process import ProcessResult
from slipway._internal.run.registry import Manifest

KIND_OF = {COSIGN_TYPE_NAMES.get(kind, predicate): kind for kind, predicate in PREDICATE_TYPES.items()}
FILES: dict[str, dict[str, Any]] = {
    "sbom": {},
    "spdx": {},
    "scan": {"scanner": {"result": GOOD_SCAN}},
    "provenance": {},
    "tests": {"result": "PASSED"},
}
REPOSITORY = REF.partition("@")[0]
PLATFORMS = [f"{REPOSITORY}@sha256:{letter * 64}" for letter in "12"]
SIGNER = Signer("/keys/cosign.key", "open sesame")


class Shelf:
    """A registry that has one image, for several platforms if a test says so, and cosign, which attaches to it."""

    def __init__(self) -> None:
        self.platforms: list[str] = []
        self.bundles: dict[str, list[Bundle]] = {}
        self.commands: list[list[str]] = []
        self.passwords: set[str | None] = set()
        self.fails_at = ""
        self.strangers: set[str] = set()
        self.there = True

    # What stands for the registry.

    def get_manifest(self, _repository: str, digest: str) -> Manifest:
        children = [{"digest": ref.partition("@")[2], "platform": {"os": "linux"}} for ref in self.platforms]
        attestation = {"digest": f"sha256:{'3' * 64}", "platform": {"os": "unknown"}}
        listed = [*children, attestation] if children else []
        return Manifest(json.dumps({"manifests": listed}).encode(), digest, "")

    def resolve_digest(self, _repository: str, digest: str) -> str | None:
        return digest if self.there else None

    def list_bundles(self, _registry: Any, ref: str, digests: frozenset[str] = frozenset()) -> list[Bundle]:
        found = self.bundles.get(ref, [])
        return [bundle for bundle in found if not digests or bundle.manifest_digest in digests]

    def list_bundle_digests(self, registry: Any, ref: str) -> frozenset[str]:
        return frozenset(bundle.manifest_digest for bundle in self.list_bundles(registry, ref))

    # What stands for cosign.

    def verify(self, _context: Any, bundle: Bundle, *_: Any) -> attestations.VerifiedBundle | str:
        if bundle.manifest_digest in self.strangers:
            return "nobody whom policy/ trusts has signed it"
        return attestations.VerifiedBundle(bundle, "k.pub")

    def run(self, argv: list[str], *, stdin: str | None, **_: Any) -> ProcessResult:
        self.commands.append(argv)
        self.passwords.add(stdin)
        ref, verb = argv[-1], argv[1]
        if self.fails_at and self.fails_at in " ".join(argv):
            return ProcessResult(1, "no connection")
        kind, predicate = "signature", {}
        if verb == "attest":
            kind = KIND_OF[argv[argv.index("--type") + 1]]
            predicate = json.loads(Path(argv[argv.index("--predicate") + 1]).read_text())
        says = dict(word.split("=", 1) for before, word in pairwise(argv) if before == "--annotations")
        self.attach(ref, kind, predicate, says)
        return ProcessResult(0, "")

    def attach(self, ref: str, kind: str, predicate: Mapping[str, Any], says: Mapping[str, str]) -> Bundle:
        subject = {"digest": {"sha256": ref.rpartition(":")[2]}, "annotations": dict(says)}
        number = sum(map(len, self.bundles.values()))
        statement = {"subject": [subject], "predicate": dict(predicate)}
        bundle = Bundle(f"sha256:{number:064}", kind, statement, "h", f"2026-11-20T00:00:{number % 60:02}Z", "{}")
        self.bundles.setdefault(ref, []).append(bundle)
        return bundle

    @property
    def done(self) -> list[tuple[str, str]]:
        """What cosign was run for: the kind of what it attached, and to which image."""
        return [
            (KIND_OF[argv[argv.index("--type") + 1]] if argv[1] == "attest" else "signature", argv[-1])
            for argv in self.commands
        ]


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    found = Shelf()
    monkeypatch.setattr(attestations, "open_registries", lambda *_: {"127.0.0.1:5000": found})
    monkeypatch.setattr(attestations, "list_bundles", found.list_bundles)
    monkeypatch.setattr(attestations, "list_bundle_digests", found.list_bundle_digests)
    monkeypatch.setattr(attestations, "verify_bundle", found.verify)
    monkeypatch.setattr(evidence, "run", found.run)
    monkeypatch.setattr(trust, "load", lambda _root: TRUST)
    monkeypatch.setattr(findings, "evaluate_report", lambda *_, **__: findings.ScanVerdict((), (), (), TODAY))
    return found


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    return RunContext(workspace.load_workspace(tmp_path), tmp_path / "bin", {})


def attach(context: RunContext, commit: str | None = None, **predicates: Any) -> None:
    files = {}
    for kind, predicate in {**FILES, **predicates}.items():
        files[kind] = context.workspace.root / f"{kind}.json"
        files[kind].write_text(json.dumps(predicate))
    evidence.attach_evidence(context, REF, AttestationInputs("api", "c", commit, files), SIGNER, NullReporter())


def verify(context: RunContext, *, content: str | None = None, **options: Any) -> VerifiedImage:
    requirement = EvidenceRequirement("api", REF, content=content)
    return evidence.verify_evidence(context, [requirement], TRUST, today=TODAY, **options)["api"]


def test_each_piece_is_attached_once_and_the_signature_last(context: RunContext, shelf: Shelf) -> None:
    attach(context)
    assert [kind for kind, _ in shelf.done] == ["sbom", "spdx", "scan", "provenance", "tests", "signature"]
    attach(context)
    assert len(shelf.done) == 6


def test_the_keys_password_is_told_by_standard_input_alone(context: RunContext, shelf: Shelf) -> None:
    attach(context)
    assert shelf.passwords == {"open sesame"}
    assert not any("open sesame" in word for argv in shelf.commands for word in argv)
    assert all("/keys/cosign.key" in argv for argv in shelf.commands)


def test_a_run_that_broke_off_goes_on_where_it_was(context: RunContext, shelf: Shelf) -> None:
    shelf.fails_at = "slsaprovenance"
    with pytest.raises(SlipwayError, match="api: cosign could not attest") as caught:
        attach(context)
    assert "no connection" in caught.value.detail and REF in caught.value.message
    shelf.fails_at, shelf.commands = "", []
    attach(context)
    assert [kind for kind, _ in shelf.done] == ["provenance", "tests", "signature"]


def test_what_a_stranger_has_attached_is_attached_again(context: RunContext, shelf: Shelf) -> None:
    shelf.strangers.add(shelf.attach(REF, "sbom", {}, {}).manifest_digest)
    attach(context)
    assert ("sbom", REF) in shelf.done


def test_each_platforms_own_image_is_signed_before_the_whole(context: RunContext, shelf: Shelf) -> None:
    shelf.platforms = PLATFORMS
    attach(context)
    assert [ref for kind, ref in shelf.done if kind == "signature"] == [*PLATFORMS, REF]


def test_what_was_attached_is_verified_and_told_as_a_lock_needs_it(context: RunContext, shelf: Shelf) -> None:
    shelf.platforms = PLATFORMS
    attach(context, commit="f" * 40)
    image = verify(context, content="c")
    assert (image.content, image.commit, image.signer) == ("c", "f" * 40, "k.pub")
    assert set(image.evidence) == set(EVIDENCE_KINDS) and image.scan_report == GOOD_SCAN
    assert image.lock_entry.ref == REF and image.lock_entry.evidence == dict(sorted(image.evidence.items()))


def test_what_is_verified_is_remembered_until_something_is_attached(context: RunContext, shelf: Shelf) -> None:
    attach(context)
    requirement = EvidenceRequirement.from_entry("api", verify(context).lock_entry)
    assert evidence.cached_verifications(context, [requirement], TRUST, today=TODAY) == {"api"}
    shelf.attach(REF, "tests", {"result": "FAILED"}, {})
    assert evidence.cached_verifications(context, [requirement], TRUST, today=TODAY) == frozenset()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda shelf: shelf.bundles[REF].pop(0), "sbom: none is attached"),
        (lambda shelf: shelf.strangers.add(shelf.bundles[REF][0].manifest_digest), "sbom: nobody whom policy/ trusts"),
        (lambda shelf: shelf.bundles.pop(PLATFORMS[1]), "sha256:222222222222, one of its platforms"),
        (lambda shelf: setattr(shelf, "there", False), "not in the registry"),
        (lambda shelf: shelf.attach(REF, "tests", {"result": "FAILED"}, {}), "'FAILED'"),
    ],
    ids=["a piece is missing", "a stranger's", "a platform unsigned", "no image", "tests say no"],
)
def test_what_does_not_hold_is_named(context: RunContext, shelf: Shelf, spoil: Any, said: str) -> None:
    shelf.platforms = PLATFORMS
    attach(context)
    spoil(shelf)
    with pytest.raises(EvidenceError, match="api") as caught:
        verify(context)
    assert said in caught.value.detail
    requirement = EvidenceRequirement("api", REF)
    assert evidence.find_verified(context, [requirement], TRUST, today=TODAY) == {}


def test_a_signature_for_other_sources_does_not_count(context: RunContext, shelf: Shelf) -> None:
    attach(context)
    with pytest.raises(EvidenceError) as caught:
        verify(context, content="d")
    assert "content `c`, not `d`" in caught.value.detail


def test_a_piece_that_the_lock_names_is_the_one_that_counts(context: RunContext, shelf: Shelf) -> None:
    attach(context)
    entry = verify(context).lock_entry
    moved = {**entry.evidence, "sbom": f"sha256:{'9' * 64}"}
    for named, said in ((moved, "sha256:999999999999"), ({"signature": entry.evidence["signature"]}, "names none")):
        requirement = EvidenceRequirement("api", REF, evidence=named)
        with pytest.raises(EvidenceError) as caught:
            evidence.verify_evidence(context, [requirement], TRUST, today=TODAY)
        assert "sbom" in caught.value.detail and said in caught.value.detail


@pytest.mark.parametrize("count", [1, 2])
def test_todays_policy_may_refuse_what_was_scanned_before(
    context: RunContext, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    attach(context)
    monkeypatch.setattr(findings, "evaluate_report", lambda *_, **__: findings.ScanVerdict((object(),), (), (), TODAY))  # type: ignore[arg-type]
    monkeypatch.setattr(findings, "refusal_error", lambda _verdict, name: GateRefused(f"{name}: CVE-1", remedy="Mend."))
    other = f"{REPOSITORY.replace('api', 'web')}@{REF.partition('@')[2]}"
    shelf.bundles[other] = [
        *(bundle for bundle in shelf.bundles[REF] if bundle.kind != "signature"),
        shelf.attach(other, "signature", {}, {"workspace": "shop", "service": "web", "content": "c"}),
    ]
    requirements = [EvidenceRequirement("api", REF), EvidenceRequirement("web", other)][:count]
    with pytest.raises(GateRefused, match="api") as caught:
        evidence.verify_evidence(context, requirements, TRUST, today=TODAY)
    assert ("web" in caught.value.message) is (count == 2)
    assert caught.value.remedy == "Mend."
    assert evidence.find_verified(context, requirements, TRUST, today=TODAY) == {}


def test_where_nobody_is_trusted_nothing_counts(context: RunContext, shelf: Shelf) -> None:
    attach(context)
    nobody = TrustedSigners(())
    with pytest.raises(EvidenceError, match="trusts nobody"):
        evidence.verify_evidence(context, [EvidenceRequirement("api", REF)], nobody, today=TODAY)
    assert evidence.find_verified(context, [EvidenceRequirement("api", REF)], nobody, today=TODAY) == {}


def test_only_asked_for_kinds_need_to_be_there_and_that_is_not_remembered(context: RunContext, shelf: Shelf) -> None:
    shelf.attach(REF, "signature", {}, {"workspace": "shop", "service": "api", "content": "c"})
    image = verify(context, kinds=())
    assert set(image.evidence) == {"signature"} and image.scan_report == {}
    assert not (context.workspace.scratch / "verified.json").exists()
