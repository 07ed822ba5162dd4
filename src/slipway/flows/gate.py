"""The gate: nothing reaches a release repository that was not tested, scanned, described and signed.

All or nothing. First every service passes build, test, scan and SBOM, and nothing leaves the machine. Then the very
bytes that were scanned are pushed by digest, attested, signed and verified; the tags come after that, so a tag in a
release repository says that all evidence was there; and the lock comes last. Killed anywhere, the next run goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial

from slipway.commands.cosign import KINDS
from slipway.content.digest import called
from slipway.flows import admission, beside, build, commits, evidence, keys, proving, proving_beside, scan
from slipway.flows.atonce import at_once
from slipway.flows.build import Planned, Shipped
from slipway.flows.evidence import Attached, Proof, Wanted
from slipway.flows.logs import logs_of
from slipway.flows.protection import refuse_lost_protection
from slipway.flows.proving import Proven
from slipway.flows.recording import current, phase
from slipway.flows.report import Report
from slipway.flows.standing import Ground
from slipway.model import lock
from slipway.model import trust as trusted_ones
from slipway.model.errors import ConfigError, EvidenceError, GateRefused
from slipway.model.names import CONTENT_TAG, TAG, content_tag
from slipway.model.stack import Stack
from slipway.model.trust import Trust
from slipway.model.workspace import Service, Workspace
from slipway.run import credentials, git, registry
from slipway.run.registry import Registry

OF_THE_GATE = ("deploy", "policy")
"""The folders that the gate itself writes, and that no image holds."""


@dataclass(frozen=True)
class Candidate:
    """One image before the gate: what is to be proven, what its release repository holds for the same content, and
    which evidence it needs.
    """

    planned: Planned
    repository: str
    released: str | None
    kinds: tuple[str, ...] = KINDS

    @property
    def beside(self) -> bool:
        """Whether it is no service, but runs beside them and was built elsewhere."""
        return self.name in lock.BESIDE

    @property
    def name(self) -> str:
        return self.planned.service.name

    @property
    def tag(self) -> str:
        return content_tag(self.planned.content)


@dataclass(frozen=True)
class Tags:
    """What an image is called beside its digest: the commit when nothing differs from it, and a version if given."""

    commit: str | None
    version: str | None

    def of(self, candidate: Candidate) -> list[str]:
        return [tag for tag in (candidate.tag, self.commit, self.version) if tag]


def plan(ground: Ground, services: Sequence[Service], stack: Stack) -> list[Candidate]:
    """Think through what has to pass the gate.

    Raises:
        ConfigError: a Dockerfile, context or base is wrong.
        SlipwayError: the registry does not answer.
    """
    planned = build.plan(ground.workspace, services)
    places = {
        each.service.name: ground.workspace.release_repository(each.service.name, stack.registry) for each in planned
    }
    tags = {each.service.name: f"{places[each.service.name]}:{content_tag(each.content)}" for each in planned}
    released = registry.digests(tags.values())
    return [Candidate(each, places[each.service.name], released[tags[each.service.name]]) for each in planned]


def plan_beside(ground: Ground, stack: Stack) -> list[Candidate]:
    """Think through what has to pass the gate beside the services; raises what `plan` does."""
    found = []
    for each in proving_beside.plan(ground.workspace, stack):
        place = ground.workspace.release_repository(each.service.name, stack.registry)
        found.append((each, place, f"{place}:{content_tag(each.content)}"))
    released = registry.digests(tag for _, _, tag in found)
    return [Candidate(each, place, released[tag], beside.KINDS) for each, place, tag in found]


def ship(
    ground: Ground,
    services: Sequence[Service],
    stack: Stack,
    report: Report,
    *,
    version: str | None = None,
    dry: bool = False,
) -> list[Shipped]:
    """Carry through the whole gate what has not passed it yet, and lock all of it.

    Args:
        ground: workspace and tools, the gate's among them.
        services: which ones.
        stack: whose lock is written, and whose registry is pushed to.
        report: told each step of each service.
        version: one more tag.
        dry: only say what would be done.

    Raises:
        GateRefused: a service does not pass, or a step cannot be carried out; nothing is pushed, the lock stays.
        EvidenceError: what was attached does not verify; nothing is tagged, the lock stays.
        SlipwayError: a build or the registry failed; the lock stays.
    """
    ground = replace(ground, stack=stack.name)
    workspace, today = ground.workspace, datetime.now(UTC).date()
    refuse_no_tag(version)
    refuse_lost_protection(workspace, stack)
    before = lock.load(workspace.root, stack.name)
    trust = trusted_ones.load(workspace.root)
    candidates = [*plan(ground, services, stack), *plan_beside(ground, stack)]
    tags = Tags(commits.commit_to_sign(workspace, stack, commit_of(workspace, candidates), report), version)
    proofs = held(ground, candidates, before, trust, today)
    # What was signed when files differed from the commit gets a signature that names one.
    proofs = {name: proof for name, proof in proofs.items() if proof.commit or not tags.commit}
    missing = [each for each in candidates if each.name not in proofs]
    if dry:
        return [_line(each, proofs.get(each.name), "would go through the gate") for each in candidates]
    for each in candidates:
        if each.name in proofs:
            report.done(each.name, "has passed the gate before")
    if version:
        there = [(each, registry.parse(proofs[each.name].ref).reference) for each in candidates if each.name in proofs]
        refuse_moved_tags(there, Tags(None, version))
    if missing:
        signer, trust = _signer(ground, trust, report)
        database = scan.ready(ground, report, datetime.now(UTC))
        proven = _prove(ground, missing, report, database, today)
        refuse_moved_tags([(each, proven[each.name].digest) for each in missing], tags)
        renewing = partial(renew, ground, trust=trust, report=report, database=database, today=today)
        with current().phase("push, attest, sign"):
            at_once(
                missing,
                lambda each: each.name,
                lambda each: publish(ground, each, proven[each.name], signer, tags.commit, report, renewing),
            )
        proofs = {**proofs, **check(ground, missing, proven, trust, today)}
    fresh = {each.name for each in missing}
    put_tags(ground, candidates, proofs, tags, fresh)
    return _lock(workspace, before, candidates, proofs, fresh, report)


def held(
    ground: Ground, candidates: Sequence[Candidate], before: lock.Lock, trust: Trust, today: date
) -> dict[str, Proof]:
    """Return the proofs of those that have passed the gate with their present content, by whomever it was built.

    Raises:
        SlipwayError: the registry does not answer.
    """
    there = [each for each in candidates if each.released]
    entries = {each.name: entry for each in there if (entry := _entry_of(before, each))}
    quick = evidence.held(ground, [_wanted(each, entries.get(each.name)) for each in there], trust, today=today)
    proofs = {name: _proof(entries[name], name) for name in quick}
    # What is not proven goes through the gate, which says what is wrong.
    others = [_wanted(each, None) for each in there if each.name not in proofs]
    return {**proofs, **(evidence.proven(ground, others, trust, today=today) if others else {})}


def publish(
    ground: Ground,
    each: Candidate,
    proven: Proven,
    signer: keys.Signer,
    commit: str | None,
    report: Report,
    renewing: Callable[[Candidate, Proven], None],
) -> None:
    """Push the very bytes that were scanned, by digest, and attach all evidence to them.

    Raises:
        GateRefused: the bytes were changed since.
        SlipwayError: the registry or cosign failed.
    """
    push(ground, each, proven, report)
    renewing(each, proven)
    sign(ground, each, proven, signer, commit, report)


def renew(
    ground: Ground,
    each: Candidate,
    proven: Proven,
    *,
    trust: Trust,
    report: Report,
    database: scan.Database,
    today: date,
) -> None:
    """Do those steps again to which genuine evidence on the image says no: only what is newer can outweigh it.

    Raises:
        GateRefused: this time, too, it does not pass.
        SlipwayError: the registry does not answer.
    """
    ref = f"{each.repository}@{proven.digest}"
    failing = evidence.failing(ground, ref, each.name, trust, today=today, kinds=each.kinds)
    if "tests" in failing:
        proving.test(ground, each.planned, report)
    if "scan" in failing and each.beside:
        proving_beside.rescan(ground, each.planned, report)
        proving_beside.judge(ground, each.planned, today)
    elif "scan" in failing:
        proving.rescan(ground, each.planned, report, database, today)


def push(ground: Ground, each: Candidate, proven: Proven, report: Report) -> None:
    """Push an image by digest, under no name yet."""
    workspace = ground.workspace
    report.step(each.name, "pushing")
    pushed = registry.push_by_digest(
        ground.bin / "crane",
        proven.planned.result,
        each.repository,
        logs_of(workspace) / f"{each.name}.push.log",
        float(workspace.settings.gate.seconds),
        credentials.environment_for(workspace, "push"),
    )
    if pushed != proven.digest:
        raise GateRefused(
            f"{each.name}: {pushed} was pushed, but {proven.digest} was scanned",
            remedy="Something else writes into .slipway/oci; find out what, and ship again.",
        )
    report.step(each.name, f"pushed {pushed[7:19]}")


def sign(
    ground: Ground, each: Candidate, proven: Proven, signer: keys.Signer, commit: str | None, report: Report
) -> None:
    """Attest and sign an image that was pushed."""
    attached = Attached(each.name, each.planned.content, commit, proven.files)
    evidence.attach(ground, f"{each.repository}@{proven.digest}", attached, signer, report)


def push_proven(
    ground: Ground, services: Sequence[Service], stack: Stack, report: Report, *, dry: bool
) -> list[Shipped]:
    """Push what has passed test, scan and SBOM into a stack's release repositories, by digest and under no name yet.

    Raises:
        GateRefused: a service has not passed.
        SlipwayError: the registry failed.
    """
    today = datetime.now(UTC).date()
    candidates = plan(ground, services, stack)
    proven = {each.name: proving.proven(ground, each.planned, today) for each in candidates}
    if not dry:
        at_once(candidates, lambda each: each.name, lambda each: push(ground, each, proven[each.name], report))
    note = "would be pushed" if dry else f"pushed; next: `invoke sign --stack {stack.name}`"
    return [Shipped(each.name, f"{each.repository}@{proven[each.name].digest}", note) for each in candidates]


def sign_pushed(ground: Ground, services: Sequence[Service], stack: Stack, report: Report) -> list[Shipped]:
    """Sign and attest what was pushed and has passed; `ship` names and locks it.

    Raises:
        GateRefused: a service has not passed, or there is nothing to sign with.
        EvidenceError: an image is not in the registry.
        SlipwayError: the registry or cosign failed.
    """
    today = datetime.now(UTC).date()
    signer, _ = _signer(ground, trusted_ones.load(ground.workspace.root), report)
    candidates = plan(ground, services, stack)
    proven = {each.name: proving.proven(ground, each.planned, today) for each in candidates}
    refs = {each.name: f"{each.repository}@{proven[each.name].digest}" for each in candidates}
    missing = [ref for ref, digest in registry.digests(refs.values()).items() if digest is None]
    if missing:
        raise EvidenceError(
            f"not in the registry: {', '.join(missing)}", remedy=f"Run `invoke push --stack {stack.name}` first."
        )
    commit = commits.commit_to_sign(ground.workspace, stack, commit_of(ground.workspace, candidates), report)
    at_once(
        candidates, lambda each: each.name, lambda each: sign(ground, each, proven[each.name], signer, commit, report)
    )
    note = f"signed; next: `invoke ship --stack {stack.name}`"
    return [Shipped(each.name, refs[each.name], note) for each in candidates]


@phase("verify")
def check(
    ground: Ground, missing: Sequence[Candidate], proven: Mapping[str, Proven], trust: Trust, today: date
) -> dict[str, Proof]:
    """Verify what was attached as a deploy would, from the registry."""
    wanted = [
        Wanted(each.name, f"{each.repository}@{proven[each.name].digest}", each.planned.content, kinds=each.kinds)
        for each in missing
    ]
    return evidence.verify(ground, wanted, trust, today=today)


def refuse_no_tag(version: str | None) -> None:
    """Raise ConfigError when a version is no tag that an image may have."""
    if version is not None and (not TAG.fullmatch(version) or version.startswith((CONTENT_TAG, "sha256-"))):
        raise ConfigError(
            f"{version!r} cannot be a version: it is no tag that an image may have",
            remedy="Use letters, digits, dots and dashes, such as 1.4.0; h- is Slipway's, sha256- is cosign's.",
        )


def commit_of(workspace: Workspace, candidates: Iterable[Candidate]) -> str | None:
    """Return the commit that the images are of; None where files differ from it that could be in an image.

    Those that git ignores are in no commit: they count where they are in an image.

    Raises:
        EvidenceError: there is a repository, but git cannot read it: what is signed would be of an unknown commit.
    """
    root = workspace.root
    git.require_known_commit(root)
    commit = git.commit(root)
    if not commit or git.dirty(root, OF_THE_GATE):
        return None
    plans = [each.planned for each in candidates if not each.beside]
    inside = {called(component, planned.folders) for planned in plans for component in planned.manifest}
    return None if inside & git.ignored(root, ("services", "libs")) else commit


def refuse_moved_tags(images: Sequence[tuple[Candidate, str]], tags: Tags) -> None:
    """Refuse before anything is pushed when a tag that would be set is another image's.

    Raises:
        GateRefused: it is.
    """
    wanted = {f"{each.repository}:{tag}": digest for each, digest in images for tag in tags.of(each)}
    there = registry.digests(wanted)
    moved = [
        f"{ref} is {there[ref]}, but {digest} was built"
        for ref, digest in wanted.items()
        if there[ref] not in (None, digest)
    ]
    if moved:
        raise GateRefused(
            "tags never move, and these are other images' already",
            detail="\n".join(moved),
            remedy="Give another --version. An h- or commit tag is another image's only when a build is not "
            "reproducible or somebody pushed by hand: `crane delete` that image, if nothing runs it.",
        )


def put_tags(
    ground: Ground, candidates: Sequence[Candidate], proofs: Mapping[str, Proof], tags: Tags, fresh: set[str]
) -> None:
    """Name what has passed: new images by all tags, those that were there before by the version alone.

    The content's tag comes last: it says that nothing is left to be done, whenever this is stopped.
    """
    config = credentials.config_of(ground.workspace, "push")

    def put(each: Candidate) -> None:
        part = registry.parse(proofs[each.name].ref)
        door = Registry(part.host, config)
        wanted = reversed(tags.of(each)) if each.name in fresh else [tags.version]
        for tag in filter(None, wanted):
            door.tag(part.repository, part.reference, tag)

    at_once([each for each in candidates if each.name in fresh or tags.version], lambda each: each.name, put)


@phase("build, test, scan")
def _prove(
    ground: Ground, missing: Sequence[Candidate], report: Report, database: scan.Database, today: date
) -> dict[str, Proven]:
    with ThreadPoolExecutor(1) as pool:
        # One look at all Dockerfiles, while the first images are built.
        judged = pool.submit(scan.dockerfiles, ground, [each.planned.service for each in missing if not each.beside])

        def prove(each: Candidate) -> Proven:
            if each.beside:
                return proving_beside.prove(ground, each.planned, report, database, today)
            return proving.prove(ground, each.planned, report, database, judged, today)

        return at_once(missing, lambda each: each.name, prove)


def _signer(ground: Ground, trust: Trust, report: Report) -> tuple[keys.Signer, Trust]:
    """Return what to sign with; the first key pair is made where nobody is trusted yet."""
    workspace = ground.workspace
    if keys.first_pair_due(workspace, trust, os.environ) and keys.ensure_pair(ground, os.environ):
        admission.write(workspace)
        report.say("policy/ trusts nobody yet: made the first key pair. Commit policy/; keep .slipway/signing safe.")
        trust = trusted_ones.load(workspace.root)
    return keys.signer(ground, trust, os.environ), trust


def _lock(
    workspace: Workspace,
    before: lock.Lock,
    candidates: Sequence[Candidate],
    proofs: Mapping[str, Proof],
    fresh: set[str],
    report: Report,
) -> list[Shipped]:
    entries = {each.name: proofs[each.name].entry for each in candidates}
    after = lock.with_entries(before, entries)
    if after != before:
        path = lock.save(workspace.root, after)
        report.say(f"Wrote {path.relative_to(workspace.root)}: commit it.")
    lines = []
    for each in candidates:
        same = lock.all_entries(before).get(each.name) == entries[each.name]
        note = "passed, locked" if each.name in fresh else "locked already" if same else "passed before, locked"
        lines.append(Shipped(each.name, proofs[each.name].ref, note))
    return lines


def _entry_of(before: lock.Lock, each: Candidate) -> lock.Entry | None:
    entry = lock.all_entries(before).get(each.name)
    if entry is None or not entry.evidence:
        return None
    return entry if (entry.ref, entry.content) == (f"{each.repository}@{each.released}", each.planned.content) else None


def _wanted(each: Candidate, entry: lock.Entry | None) -> Wanted:
    if entry:
        return Wanted.of(each.name, entry, each.kinds)
    return Wanted(each.name, f"{each.repository}@{each.released}", each.planned.content, kinds=each.kinds)


def _proof(entry: lock.Entry, service: str) -> Proof:
    return Proof(entry.ref, service, entry.content, entry.commit, entry.evidence, {}, "")


def _line(each: Candidate, proof: Proof | None, otherwise: str) -> Shipped:
    return Shipped(each.name, proof.ref, "has passed the gate before") if proof else Shipped(each.name, "-", otherwise)
