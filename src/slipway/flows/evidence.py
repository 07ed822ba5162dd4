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

from slipway.commands import cosign, findings
from slipway.commands.cosign import KINDS, SIGNATURE
from slipway.flows import attached as attachments
from slipway.flows.attached import Bundle, Verified
from slipway.flows.keys import ALONE, Signer
from slipway.flows.logs import logs_of
from slipway.flows.report import Report
from slipway.flows.standing import Ground
from slipway.model import trust as trusted_ones
from slipway.model.errors import EvidenceError, GateRefused, SlipwayError
from slipway.model.files import write_memory
from slipway.model.lock import Entry
from slipway.model.reading import read_memory
from slipway.model.trust import Trust
from slipway.model.workspace import Workspace
from slipway.run.credentials import environment_for
from slipway.run.process import run
from slipway.run.registry import Registry, parse

AT_ONCE = 4
LISTED_AT_ONCE = 16
PASSED = "PASSED"


@dataclass(frozen=True)
class Attached:
    """What is to be attached to a service's image: a file for each kind of attestation, and what the signature says."""

    service: str
    content: str
    commit: str | None
    files: Mapping[str, Path]


@dataclass(frozen=True)
class Wanted:
    """What an image has to prove: whose it is, and what it was built from.

    `content` and `commit` are what the lock says; None asks for nothing. `evidence` names each piece by its kind and
    digest; empty takes what the registry has. `kinds` are those that there have to be: all, for what was built here.
    """

    service: str
    ref: str
    content: str | None = None
    commit: str | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[str, ...] = KINDS

    @classmethod
    def of(cls, service: str, entry: Entry, kinds: tuple[str, ...] = KINDS) -> Wanted:
        """Return what a line in a lock asks for."""
        return cls(service, entry.ref, entry.content, entry.commit, entry.evidence, kinds)


@dataclass(frozen=True)
class Proof:
    """What was verified: what the signature says, each piece of evidence by its digest, and the scan's report."""

    ref: str
    service: str
    content: str
    commit: str | None
    evidence: Mapping[str, str]
    report: Mapping[str, Any] = field(repr=False)
    signer: str

    @property
    def entry(self) -> Entry:
        """What a lock says of the image."""
        return Entry(self.ref, self.content, self.commit, dict(sorted(self.evidence.items())))


@dataclass
class Looked:
    """What became of one image: the verified bundle of each kind, and what is wrong, by whose rule.

    `failing` are kinds whose newest bundle is genuine and says no, or nothing that can be read; `listed` is all that
    the registry listed.
    """

    wanted: Wanted
    found: dict[str, Verified] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    refused: GateRefused | None = None
    failing: set[str] = field(default_factory=set)
    listed: frozenset[str] = frozenset()


def attach(ground: Ground, ref: str, attached: Attached, signer: Signer, report: Report) -> None:
    """Attach what is not attached and valid yet, one after the other, the signature last.

    Args:
        ground: has cosign.
        ref: the image by digest.
        attached: what to attach. A signature that says another commit of the same content is good enough.
        signer: what to sign with, from `keys.signer`.
        report: told each step.

    Raises:
        SlipwayError: cosign failed, or the registry does not answer; the log has all that cosign said.
    """
    log = logs_of(ground.workspace) / f"{attached.service}.evidence.log"
    log.unlink(missing_ok=True)
    trust = trusted_ones.load(ground.workspace.root)
    wanted = Wanted(attached.service, ref, attached.content, kinds=(SIGNATURE, *attached.files))
    bundles = attachments.read(attachments.opened(ground.workspace, [ref])[parse(ref).host], ref)
    there = _valid(ground, wanted, bundles, trust, attached.commit)
    program = ground.bin / "cosign"
    for kind, file in sorted(attached.files.items(), key=lambda item: KINDS.index(item[0])):
        if kind not in there:
            report.step(attached.service, "attesting", kind)
            _carry_out(ground, cosign.attest(program, ref, signer.key, kind, file), signer, attached.service, log)
    said = said_of(ground.workspace, attached)
    registries = attachments.opened(ground.workspace, [ref])
    unsigned = [part for part in parts_of(registries, ref) if _part_refusal(ground, wanted, part, registries, trust)]
    for each in [*unsigned, *([] if SIGNATURE in there else [ref])]:
        report.step(attached.service, "signing")
        _carry_out(ground, cosign.sign(program, each, signer.key, said), signer, attached.service, log)
    report.done(attached.service, "signed")


def said_of(workspace: Workspace, attached: Attached) -> dict[str, str]:
    """Return what the signature says beside the digest."""
    said = {"workspace": workspace.name, "service": attached.service, "content": attached.content}
    return {**said, "commit": attached.commit} if attached.commit else said


def parts_of(registries: Mapping[str, Registry], ref: str) -> list[str]:
    """Return the images for each platform that an image by digest is made of, by digest; none where it is one itself.

    Raises:
        SlipwayError: the registry does not have it, or does not answer.
    """
    part = parse(ref)
    place = ref.partition("@")[0]
    listed = registries[part.host].manifest(part.repository, part.reference).children
    return [f"{place}@{each['digest']}" for each in listed if (each.get("platform") or {}).get("os") != "unknown"]


def verify(
    ground: Ground, wanted: Sequence[Wanted], trust: Trust, *, today: date, kinds: Sequence[str] = KINDS
) -> dict[str, Proof]:
    """Verify all that images have to prove, every one of them before anything is said.

    Args:
        ground: has cosign.
        wanted: the images.
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
    if trust.empty and wanted:
        raise EvidenceError(
            "policy/ trusts nobody, so nobody's signature counts",
            remedy="Run `invoke keys` and commit policy/, or restore policy/ from git.",
        )
    asked = tuple(dict.fromkeys((SIGNATURE, *kinds)))
    looked = _look_at(ground, wanted, trust, today, asked)
    _refuse(looked)
    proofs = {each.wanted.service: _proof(each) for each in looked}
    if set(asked) == set(KINDS):
        _remember(ground.workspace, trust, [(_proof(each), each.listed) for each in looked], today)
    return proofs


def failing(
    ground: Ground, ref: str, service: str, trust: Trust, *, today: date, kinds: tuple[str, ...] = KINDS
) -> frozenset[str]:
    """Return the kinds of evidence whose newest genuine piece on an image says no: those steps are to be done again.

    What this machine had found out before is older, so attaching it would not, and must not, hide that.

    Raises:
        SlipwayError: the registry does not answer.
    """
    looked = Looked(Wanted(service, ref, kinds=kinds))
    bundles = attachments.read(attachments.opened(ground.workspace, [ref])[parse(ref).host], ref)
    for kind in {"tests", "scan"} & set(kinds):
        _find(ground, looked, kind, bundles, trust)
    _judge(ground.workspace, looked, today)
    return frozenset(looked.failing)


def proven(ground: Ground, wanted: Sequence[Wanted], trust: Trust, *, today: date) -> dict[str, Proof]:
    """Return the proof of each service whose image has all of its evidence; the others are left out without a word.

    Raises:
        SlipwayError: the registry does not answer.
    """
    looked = [] if trust.empty else _look_at(ground, wanted, trust, today, (SIGNATURE, *KINDS))
    good = [(_proof(each), each.listed) for each in looked if not each.wrong and not each.refused]
    _remember(ground.workspace, trust, good, today)
    return {proof.service: proof for proof, _ in good}


def _look_at(ground: Ground, wanted: Sequence[Wanted], trust: Trust, today: date, kinds: Sequence[str]) -> list[Looked]:
    registries = attachments.opened(ground.workspace, (each.ref for each in wanted))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            return list(pool.map(lambda each: _look(ground, each, registries, trust, today=today, kinds=kinds), wanted))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def held(ground: Ground, wanted: Sequence[Wanted], trust: Trust, *, today: date) -> frozenset[str]:
    """Return the services whose images were verified before on this machine, against the very same trust and policy,
    on the same day, and for which the registry lists what it did then. One request for each; nothing is verified anew.

    Raises:
        SlipwayError: the registry does not answer.
    """
    known = _remembered(ground.workspace, today)
    seals = {each.service: _seal(ground.workspace, trust, each) for each in wanted if each.evidence}
    asked = [each for each in wanted if seals.get(each.service) in known]
    if not asked:
        return frozenset()
    registries = attachments.opened(ground.workspace, (each.ref for each in asked))
    with ThreadPoolExecutor(LISTED_AT_ONCE) as pool:
        listed = list(pool.map(lambda each: attachments.listed(registries[parse(each.ref).host], each.ref), asked))
    return frozenset(
        each.service
        for each, there in zip(asked, listed, strict=True)
        if set(each.evidence.values()) <= there and known[seals[each.service]] == _told(there)
    )


def _told(listed: frozenset[str]) -> str:
    return hashlib.sha256("\n".join(sorted(listed)).encode()).hexdigest()


def _carry_out(ground: Ground, argv: list[str], signer: Signer, service: str, log: Path) -> None:
    limit = float(ground.workspace.settings.gate.seconds)
    env = {**ground.environment, **environment_for(ground.workspace, "push"), **ALONE}
    result = run(argv, env=env, stdin=signer.password, log=log, timeout=limit)
    if result.code:
        raise SlipwayError(
            f"{service}: cosign could not {argv[1]} {argv[-1]}",
            remedy="Run the same command again: what is attached already stays.",
            detail=result.tail(),
            log=log,
        )


def _valid(
    ground: Ground, wanted: Wanted, bundles: Iterable[Bundle], trust: Trust, commit: str | None = None
) -> set[str]:
    """Return the kinds that are attached already, by somebody trusted, and say what they should.

    One that says no is none: the one that is to be attached has passed, and is newer (`failing`). A signature that
    names no commit is none where there is a `commit`.
    """
    looked = Looked(wanted)
    there = list(bundles)
    for kind in wanted.kinds:
        _find(ground, looked, kind, there, trust)
    _judge(ground.workspace, looked, datetime.now(UTC).date())
    signature = looked.found.get(SIGNATURE)
    unsigned = commit and signature and not signature.bundle.annotations(parse(wanted.ref).reference).get("commit")
    return looked.found.keys() - looked.failing - ({SIGNATURE} if unsigned else set())


def _look(
    ground: Ground,
    wanted: Wanted,
    registries: Mapping[str, Registry],
    trust: Trust,
    *,
    today: date,
    kinds: Sequence[str],
) -> Looked:
    looked = Looked(wanted)
    part = parse(wanted.ref)
    if registries[part.host].digest(part.repository, part.reference) is None:
        looked.wrong.append(f"{wanted.ref} is not in the registry")
        return looked
    looked.listed = attachments.listed(registries[part.host], wanted.ref)
    bundles = attachments.read(registries[part.host], wanted.ref, frozenset(wanted.evidence.values()))
    for kind in (kind for kind in kinds if kind in wanted.kinds):
        _find(ground, looked, kind, bundles, trust)
    for each in parts_of(registries, wanted.ref):
        if refusal := _part_refusal(ground, wanted, each, registries, trust):
            looked.wrong.append(f"{SIGNATURE} of {parse(each).reference[:19]}, one of its platforms: {refusal}")
    _judge(ground.workspace, looked, today)
    return looked


def _find(ground: Ground, looked: Looked, kind: str, bundles: Sequence[Bundle], trust: Trust) -> None:
    """Add the newest bundle of a kind that holds, or what is wrong."""
    wanted = looked.wanted
    digest = parse(wanted.ref).reference
    named = wanted.evidence.get(kind)
    if wanted.evidence and not named:
        looked.wrong.append(f"{kind}: the lock names none")
        return
    candidates = [each for each in bundles if each.kind == kind and named in (None, each.manifest)]
    refusals = {f"{named[:19]}, which the lock names, is not attached to the image" if named else "none is attached"}
    for each in reversed(candidates):
        result = attachments.verified(ground, each, digest, trust)
        refusal = result if isinstance(result, str) else _unfit(ground.workspace, wanted, each, kind, digest)
        if isinstance(result, Verified) and not refusal:
            looked.found[kind] = result
            return
        refusals = {refusal} if each is candidates[-1] else refusals | {refusal}
    looked.wrong.append(f"{kind}: {'; '.join(sorted(refusals))}")


def _part_refusal(ground: Ground, wanted: Wanted, ref: str, registries: Mapping[str, Registry], trust: Trust) -> str:
    """Return what is wrong with the signature of an image for one platform; empty where it holds.

    What it is part of is signed with all the evidence; this one is for whoever takes a single platform's digest.
    """
    looked = Looked(Wanted(wanted.service, ref, wanted.content))
    _find(ground, looked, SIGNATURE, attachments.read(registries[parse(ref).host], ref), trust)
    return "; ".join(looked.wrong)


def _unfit(workspace: Workspace, wanted: Wanted, bundle: Bundle, kind: str, digest: str) -> str:
    """Return in what a verified signature does not fit; empty where it does, and for other kinds."""
    if kind != SIGNATURE:
        return ""
    should = {
        "workspace": workspace.name,
        "service": wanted.service,
        "content": wanted.content,
        "commit": wanted.commit,
    }
    says = bundle.annotations(digest)
    wrong = [
        f"it says {name} `{says.get(name, '')}`, not `{value}`"
        for name, value in should.items()
        if value is not None and says.get(name) != value
    ]
    return ", ".join(wrong) or ("" if says.get("content") else "it does not say which content it is for")


def _judge(workspace: Workspace, looked: Looked, today: date) -> None:
    """Read what the evidence says, now that it is known to be genuine."""
    if tests := looked.found.get("tests"):
        result = tests.bundle.predicate.get("result")
        if result != PASSED:
            looked.failing.add("tests")
            looked.wrong.append(f"tests: they say {result!r}, not {PASSED!r}")
    if "scan" not in looked.found:
        return
    try:
        verdict = findings.verdict(
            workspace.settings.scan,
            _report(looked),
            looked.wanted.service,
            today,
            dockerfile="provenance" in looked.wanted.kinds,
        )
    except GateRefused as error:
        looked.failing.add("scan")
        looked.wrong.append(f"scan: {error.what}")
        return
    if not verdict.passed:
        looked.failing.add("scan")
        looked.refused = findings.refusal(verdict, looked.wanted.service)


def _report(looked: Looked) -> Mapping[str, Any]:
    """Return the scanner's own report from the attestation; an empty one is judged as no report."""
    scanner = looked.found["scan"].bundle.predicate.get("scanner")
    result = scanner.get("result") if isinstance(scanner, Mapping) else None
    return result if isinstance(result, Mapping) else {}


def _proof(looked: Looked) -> Proof:
    wanted = looked.wanted
    signature = looked.found[SIGNATURE]
    says = signature.bundle.annotations(parse(wanted.ref).reference)
    return Proof(
        wanted.ref,
        wanted.service,
        says["content"],
        says.get("commit"),
        {kind: each.bundle.manifest for kind, each in looked.found.items()},
        _report(looked) if "scan" in looked.found else {},
        signature.signer,
    )


def _refuse(looked: Sequence[Looked]) -> None:
    """Raise what is wrong with all services, in one error; what the evidence lacks comes before what it says."""
    wrong = [each for each in looked if each.wrong]
    refused = [each.refused for each in looked if each.refused]
    detail = [f"{each.wanted.service}: {text}" for each in wrong for text in each.wrong]
    detail += [f"{error.what}\n{error.detail}" for error in refused]
    names = ", ".join(each.wanted.service for each in wrong)
    if wrong:
        raise EvidenceError(
            f"the evidence does not hold for {names}",
            detail="\n".join(detail),
            remedy="Images that never went through the gate: `invoke ship --stack STACK`. Images that did: somebody "
            "changed deploy/, policy/ or the registry since; `git log deploy policy` and the registry's log say who.",
        )
    if len(refused) == 1:
        raise refused[0]
    if refused:
        what = f"the scan policy of today refuses {', '.join(each.wanted.service for each in looked if each.refused)}"
        raise GateRefused(what, detail="\n".join(detail), remedy=refused[0].remedy)


def _seal(workspace: Workspace, trust: Trust, wanted: Wanted) -> str:
    """Return a digest over all that a verification depends on beside the day."""
    said = [
        trust.digest,
        workspace.name,
        msgspec.to_builtins(workspace.settings.scan),
        [wanted.service, wanted.ref, wanted.content, wanted.commit],
        dict(wanted.evidence),
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _remember(workspace: Workspace, trust: Trust, proofs: Iterable[tuple[Proof, frozenset[str]]], today: date) -> None:
    seals = {_seal(workspace, trust, Wanted.of(each.service, each.entry)): _told(listed) for each, listed in proofs}
    known = _remembered(workspace, today)
    if after := {**known, **seals} if seals.items() - known.items() else None:
        write_memory(_memory(workspace), json.dumps({"day": today.isoformat(), "seals": after}))


def _remembered(workspace: Workspace, today: date) -> dict[str, str]:
    """Return the seals of today, each with what the registry listed at that time."""
    found: _Seals | None = read_memory(_memory(workspace), _Seals)
    return found.seals if found and found.day == today.isoformat() else {}


class _Seals(msgspec.Struct):
    """What was verified on a day: each seal, with what the registry listed then."""

    day: str
    seals: dict[str, str]


def _memory(workspace: Workspace) -> Path:
    return workspace.scratch / "verified.json"
