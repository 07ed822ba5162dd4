"""The evidence of an image: attached by the gate, verified before anything is locked or deployed.

Signed last, so a signature says that all the rest was there. Each piece is attached once, however often a run is
killed and begun again; and nothing counts that a trusted signer did not sign about this very digest. An image for
several platforms has its evidence as a whole, and a signature on each platform's own image besides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec

from slipway._internal.commands import cosign, findings
from slipway._internal.commands.cosign import EVIDENCE_KINDS, SIGNATURE
from slipway._internal.context.logs import logs_folder
from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import attestations as attachments
from slipway._internal.gate.attestations import Bundle, VerifiedBundle
from slipway._internal.gate.signing_keys import ISOLATED_ENVIRONMENT, Signer
from slipway._internal.model import trust as trusted_ones
from slipway._internal.model.errors import EvidenceError, GateRefused, SlipwayError
from slipway._internal.model.files import write_best_effort
from slipway._internal.model.lock import LockEntry
from slipway._internal.model.structured_files import read_json_or_none
from slipway._internal.model.trust import TrustedSigners
from slipway._internal.model.workspace import Workspace
from slipway._internal.run.credentials import login_environment
from slipway._internal.run.process import run
from slipway._internal.run.registry import Registry, parse_reference

MAX_PARALLEL_VERIFICATIONS = 4
MAX_PARALLEL_LISTINGS = 16
PASSED = "PASSED"


@dataclass(frozen=True)
class AttestationInputs:
    """What is to be attached to a service's image: a file for each kind of attestation, and what the signature says."""

    service: str
    content: str
    commit: str | None
    files: Mapping[str, Path]


@dataclass(frozen=True)
class EvidenceRequirement:
    """What an image has to prove: whose it is, and what it was built from.

    `content` and `commit` are what the lock says; None asks for nothing. `evidence` names each piece by its kind and
    digest; empty takes what the registry has. `kinds` are those that there have to be: all, for what was built here.
    """

    service: str
    ref: str
    content: str | None = None
    commit: str | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[str, ...] = EVIDENCE_KINDS

    @classmethod
    def from_entry(cls, service: str, entry: LockEntry, kinds: tuple[str, ...] = EVIDENCE_KINDS) -> EvidenceRequirement:
        """Return what a line in a lock asks for."""
        return cls(service, entry.ref, entry.content, entry.commit, entry.evidence, kinds)


@dataclass(frozen=True)
class VerifiedImage:
    """What was verified: what the signature says, each piece of evidence by its digest, and the scan's report."""

    ref: str
    service: str
    content: str
    commit: str | None
    evidence: Mapping[str, str]
    scan_report: Mapping[str, Any] = field(repr=False)
    signer: str

    @property
    def lock_entry(self) -> LockEntry:
        """What a lock says of the image."""
        return LockEntry(self.ref, self.content, self.commit, dict(sorted(self.evidence.items())))


@dataclass
class VerificationResult:
    """What became of one image: the verified bundle of each kind, and what is wrong, by whose rule.

    `find_failing_kinds` are kinds whose newest bundle is genuine and says no, or nothing that can be read;
    `listed_digests` is all that the registry listed.
    """

    requirement: EvidenceRequirement
    bundles: dict[str, VerifiedBundle] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    refusal: GateRefused | None = None
    failing_kinds: set[str] = field(default_factory=set)
    listed_digests: frozenset[str] = frozenset()


def attach_evidence(
    context: RunContext, ref: str, inputs: AttestationInputs, signer: Signer, reporter: Reporter
) -> None:
    """Attach what is not attached and valid yet, one after the other, the signature last.

    Args:
        context: has cosign.
        ref: the image by digest.
        inputs: what to attach. A signature that says another commit of the same content is good enough.
        signer: what to sign with, from `keys.signer`.
        reporter: told each step.

    Raises:
        SlipwayError: cosign failed, or the registry does not answer; the log has all that cosign said.
    """
    log = logs_folder(context.workspace) / f"{inputs.service}.evidence.log"
    log.unlink(missing_ok=True)
    trust = trusted_ones.load(context.workspace.root)
    requirement = EvidenceRequirement(inputs.service, ref, inputs.content, kinds=(SIGNATURE, *inputs.files))
    bundles = attachments.list_bundles(
        attachments.open_registries(context.workspace, [ref])[parse_reference(ref).host], ref
    )
    attached_kinds = _attached_kinds(context, requirement, bundles, trust, inputs.commit)
    program = context.bin / "cosign"
    for kind, file in sorted(inputs.files.items(), key=lambda item: EVIDENCE_KINDS.index(item[0])):
        if kind not in attached_kinds:
            reporter.step(inputs.service, "attesting", kind)
            _run_cosign(context, cosign.attest(program, ref, signer.key, kind, file), signer, inputs.service, log)
    annotations = signature_annotations(context.workspace, inputs)
    registries = attachments.open_registries(context.workspace, [ref])
    unsigned_platforms = [
        platform_ref
        for platform_ref in platform_refs(registries, ref)
        if _platform_refusal(context, requirement, platform_ref, registries, trust)
    ]
    for unsigned_ref in [*unsigned_platforms, *([] if SIGNATURE in attached_kinds else [ref])]:
        reporter.step(inputs.service, "signing")
        _run_cosign(context, cosign.sign(program, unsigned_ref, signer.key, annotations), signer, inputs.service, log)
    reporter.done(inputs.service, "signed")


def signature_annotations(workspace: Workspace, inputs: AttestationInputs) -> dict[str, str]:
    """Return what the signature says beside the digest."""
    annotations = {"workspace": workspace.name, "service": inputs.service, "content": inputs.content}
    return {**annotations, "commit": inputs.commit} if inputs.commit else annotations


def platform_refs(registries: Mapping[str, Registry], ref: str) -> list[str]:
    """Return the images for each platform that an image by digest is made of, by digest; none where it is one itself.

    Raises:
        SlipwayError: the registry does not have it, or does not answer.
    """
    reference = parse_reference(ref)
    repository = ref.partition("@")[0]
    descriptors = registries[reference.host].get_manifest(reference.repository, reference.reference).children
    return [
        f"{repository}@{descriptor['digest']}"
        for descriptor in descriptors
        if (descriptor.get("platform") or {}).get("os") != "unknown"
    ]


def verify_evidence(
    context: RunContext,
    requirements: Sequence[EvidenceRequirement],
    trust: TrustedSigners,
    *,
    today: date,
    kinds: Sequence[str] = EVIDENCE_KINDS,
) -> dict[str, VerifiedImage]:
    """Verify all that images have to prove, every one of them before anything is said.

    Args:
        context: has cosign.
        requirements: the images.
        trust: whose signature counts.
        today: decides which of the scan's exceptions have expired.
        kinds: which evidence each must have; the signature is always asked for.

    Returns:
        The proof of each service.

    Raises:
        EvidenceError: evidence is missing, is not what the lock says, or was not made by a trusted signer.
        GateRefused: all is there, but today's policy refuses what the scan had found.
        SlipwayError: the registry does not answer.
    """
    if trust.is_empty and requirements:
        raise EvidenceError(
            "policy/ trusts nobody, so nobody's signature counts",
            remedy="Run `invoke keys` and commit policy/, or restore policy/ from git.",
        )
    asked_kinds = tuple(dict.fromkeys((SIGNATURE, *kinds)))
    results = _verify_all(context, requirements, trust, today, asked_kinds)
    _raise_problems(results)
    images = {result.requirement.service: _verified_image(result) for result in results}
    if set(asked_kinds) == set(EVIDENCE_KINDS):
        _save_verifications(
            context.workspace, trust, [(_verified_image(result), result.listed_digests) for result in results], today
        )
    return images


def find_failing_kinds(
    context: RunContext,
    ref: str,
    service: str,
    trust: TrustedSigners,
    *,
    today: date,
    kinds: tuple[str, ...] = EVIDENCE_KINDS,
) -> frozenset[str]:
    """Return the kinds of evidence whose newest genuine piece on an image says no: those steps are to be done again.

    What this machine had found out before is older, so attaching it would not, and must not, hide that.

    Raises:
        SlipwayError: the registry does not answer.
    """
    result = VerificationResult(EvidenceRequirement(service, ref, kinds=kinds))
    bundles = attachments.list_bundles(
        attachments.open_registries(context.workspace, [ref])[parse_reference(ref).host], ref
    )
    for kind in {"tests", "scan"} & set(kinds):
        _find_bundle(context, result, kind, bundles, trust)
    _evaluate_policy(context.workspace, result, today)
    return frozenset(result.failing_kinds)


def find_verified(
    context: RunContext, requirements: Sequence[EvidenceRequirement], trust: TrustedSigners, *, today: date
) -> dict[str, VerifiedImage]:
    """Return the proof of each service whose image has all of its evidence; the others are left out without a word.

    Raises:
        SlipwayError: the registry does not answer.
    """
    results = [] if trust.is_empty else _verify_all(context, requirements, trust, today, (SIGNATURE, *EVIDENCE_KINDS))
    verified_images = [
        (_verified_image(result), result.listed_digests)
        for result in results
        if not result.problems and not result.refusal
    ]
    _save_verifications(context.workspace, trust, verified_images, today)
    return {image.service: image for image, _ in verified_images}


def _verify_all(
    context: RunContext,
    requirements: Sequence[EvidenceRequirement],
    trust: TrustedSigners,
    today: date,
    kinds: Sequence[str],
) -> list[VerificationResult]:
    registries = attachments.open_registries(context.workspace, (requirement.ref for requirement in requirements))
    with ThreadPoolExecutor(MAX_PARALLEL_VERIFICATIONS) as pool:
        try:
            return list(
                pool.map(
                    lambda requirement: _verify_image(
                        context, requirement, registries, trust, today=today, kinds=kinds
                    ),
                    requirements,
                )
            )
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def cached_verifications(
    context: RunContext, requirements: Sequence[EvidenceRequirement], trust: TrustedSigners, *, today: date
) -> frozenset[str]:
    """Return the services whose images were verified before on this machine, against the very same trust and policy,
    on the same day, and for which the registry lists what it did then. One request for each; nothing is verified anew.

    Raises:
        SlipwayError: the registry does not answer.
    """
    saved = _load_verifications(context.workspace, today)
    verification_keys = {
        requirement.service: _verification_key(context.workspace, trust, requirement)
        for requirement in requirements
        if requirement.evidence
    }
    candidates = [requirement for requirement in requirements if verification_keys.get(requirement.service) in saved]
    if not candidates:
        return frozenset()
    registries = attachments.open_registries(context.workspace, (requirement.ref for requirement in candidates))
    with ThreadPoolExecutor(MAX_PARALLEL_LISTINGS) as pool:
        listings = list(
            pool.map(
                lambda requirement: attachments.list_bundle_digests(
                    registries[parse_reference(requirement.ref).host], requirement.ref
                ),
                candidates,
            )
        )
    return frozenset(
        requirement.service
        for requirement, listing in zip(candidates, listings, strict=True)
        if set(requirement.evidence.values()) <= listing
        and saved[verification_keys[requirement.service]] == _listing_digest(listing)
    )


def _listing_digest(digests: frozenset[str]) -> str:
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def _run_cosign(context: RunContext, argv: list[str], signer: Signer, service: str, log: Path) -> None:
    limit = float(context.workspace.settings.gate.seconds)
    env = {**context.environment, **login_environment(context.workspace, "push"), **ISOLATED_ENVIRONMENT}
    result = run(argv, env=env, stdin=signer.password, log=log, timeout=limit)
    if result.code:
        raise SlipwayError(
            f"{service}: cosign could not {argv[1]} {argv[-1]}",
            remedy="Run the same command again: what is already attached stays.",
            detail=result.tail(),
            log=log,
        )


def _attached_kinds(
    context: RunContext,
    requirement: EvidenceRequirement,
    bundles: Iterable[Bundle],
    trust: TrustedSigners,
    commit: str | None = None,
) -> set[str]:
    """Return the kinds that are attached already, by somebody trusted, and say what they should.

    One that says no is none: the one that is to be attached has passed, and is newer (`find_failing_kinds`). A
    signature that names no commit is none where there is a `commit`.
    """
    result = VerificationResult(requirement)
    available = list(bundles)
    for kind in requirement.kinds:
        _find_bundle(context, result, kind, available, trust)
    _evaluate_policy(context.workspace, result, datetime.now(UTC).date())
    signature = result.bundles.get(SIGNATURE)
    lacks_commit = (
        commit
        and signature
        and not signature.bundle.annotations(parse_reference(requirement.ref).reference).get("commit")
    )
    return result.bundles.keys() - result.failing_kinds - ({SIGNATURE} if lacks_commit else set())


def _verify_image(
    context: RunContext,
    requirement: EvidenceRequirement,
    registries: Mapping[str, Registry],
    trust: TrustedSigners,
    *,
    today: date,
    kinds: Sequence[str],
) -> VerificationResult:
    result = VerificationResult(requirement)
    reference = parse_reference(requirement.ref)
    if registries[reference.host].resolve_digest(reference.repository, reference.reference) is None:
        result.problems.append(f"{requirement.ref} is not in the registry")
        return result
    result.listed_digests = attachments.list_bundle_digests(registries[reference.host], requirement.ref)
    bundles = attachments.list_bundles(
        registries[reference.host], requirement.ref, frozenset(requirement.evidence.values())
    )
    for kind in (kind for kind in kinds if kind in requirement.kinds):
        _find_bundle(context, result, kind, bundles, trust)
    for platform_ref in platform_refs(registries, requirement.ref):
        if refusal := _platform_refusal(context, requirement, platform_ref, registries, trust):
            result.problems.append(
                f"{SIGNATURE} of {parse_reference(platform_ref).reference[:19]}, one of its platforms: {refusal}"
            )
    _evaluate_policy(context.workspace, result, today)
    return result


def _find_bundle(
    context: RunContext, verification: VerificationResult, kind: str, bundles: Sequence[Bundle], trust: TrustedSigners
) -> None:
    """Add the newest bundle of a kind that holds, or what is wrong."""
    requirement = verification.requirement
    digest = parse_reference(requirement.ref).reference
    locked_digest = requirement.evidence.get(kind)
    if requirement.evidence and not locked_digest:
        verification.problems.append(f"{kind}: the lock names none")
        return
    candidates = [
        bundle for bundle in bundles if bundle.kind == kind and locked_digest in (None, bundle.manifest_digest)
    ]
    refusals = {
        f"{locked_digest[:19]}, which the lock names, is not attached to the image"
        if locked_digest
        else "none is attached"
    }
    for bundle in reversed(candidates):
        result = attachments.verify_bundle(context, bundle, digest, trust)
        refusal = (
            result
            if isinstance(result, str)
            else _signature_mismatch(context.workspace, requirement, bundle, kind, digest)
        )
        if isinstance(result, VerifiedBundle) and not refusal:
            verification.bundles[kind] = result
            return
        refusals = {refusal} if bundle is candidates[-1] else refusals | {refusal}
    verification.problems.append(f"{kind}: {'; '.join(sorted(refusals))}")


def _platform_refusal(
    context: RunContext,
    requirement: EvidenceRequirement,
    ref: str,
    registries: Mapping[str, Registry],
    trust: TrustedSigners,
) -> str:
    """Return what is wrong with the signature of an image for one platform; empty where it holds.

    What it is part of is signed with all the evidence; this one is for whoever takes a single platform's digest.
    """
    result = VerificationResult(EvidenceRequirement(requirement.service, ref, requirement.content))
    _find_bundle(
        context, result, SIGNATURE, attachments.list_bundles(registries[parse_reference(ref).host], ref), trust
    )
    return "; ".join(result.problems)


def _signature_mismatch(
    workspace: Workspace, requirement: EvidenceRequirement, bundle: Bundle, kind: str, digest: str
) -> str:
    """Return in what a verified signature does not fit; empty where it does, and for other kinds."""
    if kind != SIGNATURE:
        return ""
    expected = {
        "workspace": workspace.name,
        "service": requirement.service,
        "content": requirement.content,
        "commit": requirement.commit,
    }
    annotations = bundle.annotations(digest)
    mismatches = [
        f"it says {name} `{annotations.get(name, '')}`, not `{value}`"
        for name, value in expected.items()
        if value is not None and annotations.get(name) != value
    ]
    return ", ".join(mismatches) or ("" if annotations.get("content") else "it does not name the content it is for")


def _evaluate_policy(workspace: Workspace, verification: VerificationResult, today: date) -> None:
    """Read what the evidence says, now that it is known to be genuine."""
    if tests := verification.bundles.get("tests"):
        result = tests.bundle.predicate.get("result")
        if result != PASSED:
            verification.failing_kinds.add("tests")
            verification.problems.append(f"tests: they say {result!r}, not {PASSED!r}")
    if "scan" not in verification.bundles:
        return
    try:
        verdict = findings.evaluate_report(
            workspace.settings.scan,
            _scan_report(verification),
            verification.requirement.service,
            today,
            dockerfile="provenance" in verification.requirement.kinds,
        )
    except GateRefused as error:
        verification.failing_kinds.add("scan")
        verification.problems.append(f"scan: {error.message}")
        return
    if not verdict.passed:
        verification.failing_kinds.add("scan")
        verification.refusal = findings.refusal_error(verdict, verification.requirement.service)


def _scan_report(verification: VerificationResult) -> Mapping[str, Any]:
    """Return the scanner's own report from the attestation; an empty one is judged as no report."""
    scanner = verification.bundles["scan"].bundle.predicate.get("scanner")
    result = scanner.get("result") if isinstance(scanner, Mapping) else None
    return result if isinstance(result, Mapping) else {}


def _verified_image(verification: VerificationResult) -> VerifiedImage:
    requirement = verification.requirement
    signature = verification.bundles[SIGNATURE]
    annotations = signature.bundle.annotations(parse_reference(requirement.ref).reference)
    return VerifiedImage(
        requirement.ref,
        requirement.service,
        annotations["content"],
        annotations.get("commit"),
        {kind: bundle.bundle.manifest_digest for kind, bundle in verification.bundles.items()},
        _scan_report(verification) if "scan" in verification.bundles else {},
        signature.signer,
    )


def _raise_problems(results: Sequence[VerificationResult]) -> None:
    """Raise what is wrong with all services, in one error; what the evidence lacks comes before what it says."""
    failed = [result for result in results if result.problems]
    refusals = [result.refusal for result in results if result.refusal]
    detail = [f"{result.requirement.service}: {text}" for result in failed for text in result.problems]
    detail += [f"{error.message}\n{error.detail}" for error in refusals]
    names = ", ".join(result.requirement.service for result in failed)
    if failed:
        raise EvidenceError(
            f"the evidence does not hold for {names}",
            detail="\n".join(detail),
            remedy="Images that never went through the gate: `invoke ship --stack STACK`. Images that did: somebody "
            "changed deploy/, policy/ or the registry since; `git log deploy policy` and the registry's log say who.",
        )
    if len(refusals) == 1:
        raise refusals[0]
    if refusals:
        refused = ", ".join(result.requirement.service for result in results if result.refusal)
        what = f"the present scan policy refuses {refused}"
        raise GateRefused(what, detail="\n".join(detail), remedy=refusals[0].remedy)


def _verification_key(workspace: Workspace, trust: TrustedSigners, requirement: EvidenceRequirement) -> str:
    """Return a digest over all that a verification depends on beside the day."""
    facts = [
        trust.digest,
        workspace.name,
        msgspec.to_builtins(workspace.settings.scan),
        [requirement.service, requirement.ref, requirement.content, requirement.commit],
        dict(requirement.evidence),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _save_verifications(
    workspace: Workspace, trust: TrustedSigners, images: Iterable[tuple[VerifiedImage, frozenset[str]]], today: date
) -> None:
    verification_keys = {
        _verification_key(
            workspace, trust, EvidenceRequirement.from_entry(image.service, image.lock_entry)
        ): _listing_digest(listed_digests)
        for image, listed_digests in images
    }
    saved = _load_verifications(workspace, today)
    if after := {**saved, **verification_keys} if verification_keys.items() - saved.items() else None:
        write_best_effort(_verifications_path(workspace), json.dumps({"day": today.isoformat(), "seals": after}))


def _load_verifications(workspace: Workspace, today: date) -> dict[str, str]:
    """Return the seals of today, each with what the registry listed at that time."""
    saved: _SavedVerifications | None = read_json_or_none(_verifications_path(workspace), _SavedVerifications)
    return saved.seals if saved and saved.day == today.isoformat() else {}


class _SavedVerifications(msgspec.Struct):
    """What was verified on a day: each seal, with what the registry listed then."""

    day: str
    seals: dict[str, str]


def _verifications_path(workspace: Workspace) -> Path:
    return workspace.scratch / "verified.json"
