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

from slipway._internal.build import build
from slipway._internal.build.build import BuildPlan, ShippedImage
from slipway._internal.commands.cosign import EVIDENCE_KINDS
from slipway._internal.content.digest import describe_component
from slipway._internal.context import commits
from slipway._internal.context.logs import logs_folder
from slipway._internal.context.parallel import run_parallel
from slipway._internal.context.protection import refuse_lost_protection
from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.gate import admission, checks, evidence, prebuilt_checks, prebuilt_images, scan, signing_keys
from slipway._internal.gate.checks import GateResult
from slipway._internal.gate.evidence import AttestationInputs, EvidenceRequirement, VerifiedImage
from slipway._internal.insight.run_recorder import current_recorder, phase
from slipway._internal.model import lock
from slipway._internal.model import trust as trusted_ones
from slipway._internal.model.errors import ConfigError, EvidenceError, GateRefused
from slipway._internal.model.names import CONTENT_TAG, TAG, content_tag
from slipway._internal.model.stack import Stack
from slipway._internal.model.trust import TrustedSigners
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.run import credentials, git, registry
from slipway._internal.run.registry import Registry

GATE_FOLDERS = ("deploy", "policy")
"""The folders that the gate itself writes, and that no image holds."""


@dataclass(frozen=True)
class Candidate:
    """One image before the gate: what is to be proven, what its release repository holds for the same content, and
    which evidence it needs.
    """

    plan: BuildPlan
    repository: str
    released_digest: str | None
    kinds: tuple[str, ...] = EVIDENCE_KINDS

    @property
    def is_prebuilt(self) -> bool:
        """Whether it was built elsewhere: it runs beside the services, or its service's file names it."""
        return self.kinds != EVIDENCE_KINDS

    @property
    def name(self) -> str:
        return self.plan.service.name

    @property
    def tag(self) -> str:
        return content_tag(self.plan.content)


@dataclass(frozen=True)
class ImageTags:
    """What an image is called beside its digest: the commit when nothing differs from it, and a version if given."""

    commit: str | None
    version: str | None

    def for_candidate(self, candidate: Candidate) -> list[str]:
        return [tag for tag in (candidate.tag, self.commit, self.version) if tag]


def plan_candidates(context: RunContext, services: Sequence[Service], stack: Stack) -> list[Candidate]:
    """Think through what has to pass the gate.

    Raises:
        ConfigError: a Dockerfile, context or base is wrong.
        SlipwayError: the registry does not answer.
    """
    plans = build.plan_builds(context.workspace, services)
    repositories = {
        plan.service.name: context.workspace.release_repository(plan.service.name, stack.registry) for plan in plans
    }
    tags = {plan.service.name: f"{repositories[plan.service.name]}:{content_tag(plan.content)}" for plan in plans}
    released = registry.resolve_digests(tags.values(), context.workspace)
    return [Candidate(plan, repositories[plan.service.name], released[tags[plan.service.name]]) for plan in plans]


def plan_prebuilt_candidates(context: RunContext, services: Sequence[Service], stack: Stack) -> list[Candidate]:
    """Think through what has to pass the gate and is built elsewhere; raises what `plan_candidates` does."""
    planned_tags = []
    for plan in prebuilt_checks.plan_prebuilt(context.workspace, services, stack):
        repository = context.workspace.release_repository(plan.service.name, stack.registry)
        planned_tags.append((plan, repository, f"{repository}:{content_tag(plan.content)}"))
    released = registry.resolve_digests((tag for _, _, tag in planned_tags), context.workspace)
    return [
        Candidate(plan, repository, released[tag], prebuilt_images.PREBUILT_EVIDENCE_KINDS)
        for plan, repository, tag in planned_tags
    ]


def ship_services(
    context: RunContext,
    services: Sequence[Service],
    stack: Stack,
    reporter: Reporter,
    *,
    version: str | None = None,
    dry: bool = False,
) -> list[ShippedImage]:
    """Carry through the whole gate what has not passed it yet, and lock all of it.

    Args:
        context: workspace and tools, the gate's among them.
        services: which ones.
        stack: whose lock is written, and whose registry is pushed to.
        reporter: told each step of each service.
        version: one more tag.
        dry: only say what would be done.

    Raises:
        GateRefused: a service does not pass, or a step cannot be carried out; nothing is pushed, the lock stays.
        EvidenceError: what was attached does not verify; nothing is tagged, the lock stays.
        SlipwayError: a build or the registry failed; the lock stays.
    """
    context = replace(context, stack=stack.name)
    workspace, today = context.workspace, datetime.now(UTC).date()
    refuse_invalid_version(version)
    refuse_lost_protection(workspace, stack)
    old_lock = lock.load(workspace.root, stack.name)
    trust = trusted_ones.load(workspace.root)
    candidates = [*plan_candidates(context, services, stack), *plan_prebuilt_candidates(context, services, stack)]
    tags = ImageTags(
        commits.commit_to_sign(workspace, stack, commit_of_images(workspace, candidates), reporter), version
    )
    verified_images = already_shipped(context, candidates, old_lock, trust, today)
    # What was signed when files differed from the commit gets a signature that names one.
    verified_images = {
        name: verified_image
        for name, verified_image in verified_images.items()
        if verified_image.commit or not tags.commit
    }
    pending = [candidate for candidate in candidates if candidate.name not in verified_images]
    if dry:
        return [
            _dry_run_line(candidate, verified_images.get(candidate.name), "would go through the gate")
            for candidate in candidates
        ]
    for candidate in candidates:
        if candidate.name in verified_images:
            reporter.done(candidate.name, "has passed the gate before")
    if version:
        shipped_digests = [
            (candidate, registry.parse_reference(verified_images[candidate.name].ref).reference)
            for candidate in candidates
            if candidate.name in verified_images
        ]
        refuse_moved_tags(workspace, shipped_digests, ImageTags(None, version))
    if pending:
        signer, trust = _ensure_signer(context, trust, reporter)
        database = scan.ensure_database(context, reporter, datetime.now(UTC))
        results = _run_checks(context, pending, reporter, database, today)
        refuse_moved_tags(workspace, [(candidate, results[candidate.name].digest) for candidate in pending], tags)
        renew_evidence = partial(
            renew_failing_evidence, context, trust=trust, reporter=reporter, database=database, today=today
        )
        with current_recorder().phase("push, attest, sign"):
            run_parallel(
                pending,
                lambda candidate: candidate.name,
                lambda candidate: publish_image(
                    context, candidate, results[candidate.name], signer, tags.commit, reporter, renew_evidence
                ),
            )
        verified_images = {**verified_images, **verify_published(context, pending, results, trust, today)}
    new_names = {candidate.name for candidate in pending}
    tag_images(context, candidates, verified_images, tags, new_names)
    return _write_lock(workspace, old_lock, candidates, verified_images, new_names, reporter)


def already_shipped(
    context: RunContext, candidates: Sequence[Candidate], stack_lock: lock.Lock, trust: TrustedSigners, today: date
) -> dict[str, VerifiedImage]:
    """Return the proofs of those that have passed the gate with their present content, by whomever it was built.

    Raises:
        SlipwayError: the registry does not answer.
    """
    released_candidates = [candidate for candidate in candidates if candidate.released_digest]
    entries = {
        candidate.name: entry for candidate in released_candidates if (entry := _matching_entry(stack_lock, candidate))
    }
    cached_services = evidence.cached_verifications(
        context,
        [_requirement_for(candidate, entries.get(candidate.name)) for candidate in released_candidates],
        trust,
        today=today,
    )
    verified_images = {name: _image_from_lock(entries[name], name) for name in cached_services}
    # What is not proven goes through the gate, which says what is wrong.
    others = [
        _requirement_for(candidate, None) for candidate in released_candidates if candidate.name not in verified_images
    ]
    return {**verified_images, **(evidence.find_verified(context, others, trust, today=today) if others else {})}


def publish_image(
    context: RunContext,
    candidate: Candidate,
    result: GateResult,
    signer: signing_keys.Signer,
    commit: str | None,
    reporter: Reporter,
    renew_evidence: Callable[[Candidate, GateResult], None],
) -> None:
    """Push the very bytes that were scanned, by digest, and attach all evidence to them.

    Raises:
        GateRefused: the bytes were changed since.
        SlipwayError: the registry or cosign failed.
    """
    push_image(context, candidate, result, reporter)
    renew_evidence(candidate, result)
    sign_image(context, candidate, result, signer, commit, reporter)


def renew_failing_evidence(
    context: RunContext,
    candidate: Candidate,
    result: GateResult,
    *,
    trust: TrustedSigners,
    reporter: Reporter,
    database: scan.Database,
    today: date,
) -> None:
    """Do those steps again to which genuine evidence on the image says no: only what is newer can outweigh it.

    Raises:
        GateRefused: this time, too, it does not pass.
        SlipwayError: the registry does not answer.
    """
    ref = f"{candidate.repository}@{result.digest}"
    failing_kinds = evidence.find_failing_kinds(context, ref, candidate.name, trust, today=today, kinds=candidate.kinds)
    if "tests" in failing_kinds:
        checks.rerun_tests(context, candidate.plan, reporter)
    if "scan" in failing_kinds and candidate.is_prebuilt:
        prebuilt_checks.rescan(context, candidate.plan, reporter)
        prebuilt_checks.enforce_policy(context, candidate.plan, today)
    elif "scan" in failing_kinds:
        checks.rescan(context, candidate.plan, reporter, database, today)


def push_image(context: RunContext, candidate: Candidate, result: GateResult, reporter: Reporter) -> None:
    """Push an image by digest, under no name yet."""
    workspace = context.workspace
    reporter.step(candidate.name, "pushing")
    digest = registry.push_by_digest(
        context.bin / "crane",
        result.plan.layout,
        candidate.repository,
        logs_folder(workspace) / f"{candidate.name}.push.log",
        float(workspace.settings.gate.seconds),
        credentials.login_environment(workspace, "push"),
    )
    if digest != result.digest:
        raise GateRefused(
            f"{candidate.name}: {digest} was pushed, but {result.digest} was scanned",
            remedy="Something else writes to .slipway/oci: find out what, and ship again.",
        )
    reporter.step(candidate.name, f"pushed {digest[7:19]}")


def sign_image(
    context: RunContext,
    candidate: Candidate,
    result: GateResult,
    signer: signing_keys.Signer,
    commit: str | None,
    reporter: Reporter,
) -> None:
    """Attest and sign an image that was pushed."""
    inputs = AttestationInputs(candidate.name, candidate.plan.content, commit, result.files)
    evidence.attach_evidence(context, f"{candidate.repository}@{result.digest}", inputs, signer, reporter)


def push_passed(
    context: RunContext, services: Sequence[Service], stack: Stack, reporter: Reporter, *, dry: bool
) -> list[ShippedImage]:
    """Push what has passed test, scan and SBOM into a stack's release repositories, by digest and under no name yet.

    Raises:
        GateRefused: a service has not passed.
        SlipwayError: the registry failed.
    """
    today = datetime.now(UTC).date()
    candidates = plan_candidates(context, services, stack)
    results = {candidate.name: checks.require_passed(context, candidate.plan, today) for candidate in candidates}
    if not dry:
        run_parallel(
            candidates,
            lambda candidate: candidate.name,
            lambda candidate: push_image(context, candidate, results[candidate.name], reporter),
        )
    note = "would be pushed" if dry else f"pushed; next: `invoke sign --stack {stack.name}`"
    return [
        ShippedImage(candidate.name, f"{candidate.repository}@{results[candidate.name].digest}", note)
        for candidate in candidates
    ]


def sign_pushed(
    context: RunContext, services: Sequence[Service], stack: Stack, reporter: Reporter
) -> list[ShippedImage]:
    """Sign and attest what was pushed and has passed; `ship_services` names and locks it.

    Raises:
        GateRefused: a service has not passed, or there is nothing to sign with.
        EvidenceError: an image is not in the registry.
        SlipwayError: the registry or cosign failed.
    """
    today = datetime.now(UTC).date()
    candidates = plan_candidates(context, services, stack)
    results = {candidate.name: checks.require_passed(context, candidate.plan, today) for candidate in candidates}
    refs = {candidate.name: f"{candidate.repository}@{results[candidate.name].digest}" for candidate in candidates}
    missing = [
        ref for ref, digest in registry.resolve_digests(refs.values(), context.workspace).items() if digest is None
    ]
    if missing:
        raise EvidenceError(
            f"not in the registry: {', '.join(missing)}", remedy=f"Run `invoke push --stack {stack.name}` first."
        )
    commit = commits.commit_to_sign(context.workspace, stack, commit_of_images(context.workspace, candidates), reporter)
    # Last, since it may make the first key pair: only where there is something to sign.
    signer, _ = _ensure_signer(context, trusted_ones.load(context.workspace.root), reporter)
    run_parallel(
        candidates,
        lambda candidate: candidate.name,
        lambda candidate: sign_image(context, candidate, results[candidate.name], signer, commit, reporter),
    )
    note = f"signed; next: `invoke ship --stack {stack.name}`"
    return [ShippedImage(candidate.name, refs[candidate.name], note) for candidate in candidates]


@phase("verify")
def verify_published(
    context: RunContext,
    candidates: Sequence[Candidate],
    results: Mapping[str, GateResult],
    trust: TrustedSigners,
    today: date,
) -> dict[str, VerifiedImage]:
    """Verify what was attached as a deploy would, from the registry."""
    requirements = [
        EvidenceRequirement(
            candidate.name,
            f"{candidate.repository}@{results[candidate.name].digest}",
            candidate.plan.content,
            kinds=candidate.kinds,
        )
        for candidate in candidates
    ]
    return evidence.verify_evidence(context, requirements, trust, today=today)


def refuse_invalid_version(version: str | None) -> None:
    """Raise ConfigError when a version is not a tag that an image may have."""
    if version is not None and (not TAG.fullmatch(version) or version.startswith((CONTENT_TAG, "sha256-"))):
        raise ConfigError(
            f"{version!r} cannot be a version: it is not a tag that an image may have",
            remedy="Use letters, digits, dots and dashes, such as 1.4.0; h- is Slipway's, sha256- is cosign's.",
        )


def commit_of_images(workspace: Workspace, candidates: Iterable[Candidate]) -> str | None:
    """Return the commit that the images are of; None where files differ from it that could be in an image.

    Those that git ignores are in no commit: they count where they are in an image.

    Raises:
        EvidenceError: there is a repository, but git cannot read it: what is signed would be of an unknown commit.
    """
    root = workspace.root
    git.require_known_commit(root)
    commit = git.head_commit(root)
    if not commit or git.is_dirty(root, GATE_FOLDERS):
        return None
    plans = [candidate.plan for candidate in candidates if not candidate.is_prebuilt]
    image_files = {
        describe_component(component, planned.context_folders) for planned in plans for component in planned.manifest
    }
    return None if image_files & git.list_ignored(root, ("services", "libs")) else commit


def refuse_moved_tags(workspace: Workspace, images: Sequence[tuple[Candidate, str]], tags: ImageTags) -> None:
    """Refuse before anything is pushed when a tag that would be set is another image's.

    Raises:
        GateRefused: it is.
    """
    digest_by_tag = {
        f"{candidate.repository}:{tag}": digest for candidate, digest in images for tag in tags.for_candidate(candidate)
    }
    registry_digests = registry.resolve_digests(digest_by_tag, workspace)
    moved = [
        f"{ref} is {registry_digests[ref]}, but {digest} was built"
        for ref, digest in digest_by_tag.items()
        if registry_digests[ref] not in (None, digest)
    ]
    if moved:
        raise GateRefused(
            "tags never move, and these already belong to other images",
            detail="\n".join(moved),
            remedy="Give another --version. An h- or commit tag is another image's only when a build is not "
            "reproducible or somebody pushed by hand: `crane delete` that image, if nothing runs it.",
        )


def tag_images(
    context: RunContext,
    candidates: Sequence[Candidate],
    verified_images: Mapping[str, VerifiedImage],
    tags: ImageTags,
    new_names: set[str],
) -> None:
    """Name what has passed: new images by all tags, those that were there before by the version alone.

    The content's tag comes last: it says that nothing is left to be done, whenever this is stopped.
    """
    config = credentials.login_config_of(context.workspace, "push")

    def tag_image(candidate: Candidate) -> None:
        reference = registry.parse_reference(verified_images[candidate.name].ref)
        client = Registry(reference.host, config)
        missing_tags = reversed(tags.for_candidate(candidate)) if candidate.name in new_names else [tags.version]
        for tag in filter(None, missing_tags):
            client.add_tag(reference.repository, reference.reference, tag)

    run_parallel(
        [candidate for candidate in candidates if candidate.name in new_names or tags.version],
        lambda candidate: candidate.name,
        tag_image,
    )


@phase("build, test, scan")
def _run_checks(
    context: RunContext, candidates: Sequence[Candidate], reporter: Reporter, database: scan.Database, today: date
) -> dict[str, GateResult]:
    with ThreadPoolExecutor(1) as pool:
        # One look at all Dockerfiles, while the first images are built.
        dockerfile_results = pool.submit(
            scan.scan_dockerfiles,
            context,
            [candidate.plan.service for candidate in candidates if not candidate.is_prebuilt],
        )

        def run_checks(candidate: Candidate) -> GateResult:
            if candidate.is_prebuilt:
                return prebuilt_checks.run_checks(context, candidate.plan, reporter, database, today)
            return checks.run_checks(context, candidate.plan, reporter, database, dockerfile_results, today)

        return run_parallel(candidates, lambda candidate: candidate.name, run_checks)


def _ensure_signer(
    context: RunContext, trust: TrustedSigners, reporter: Reporter
) -> tuple[signing_keys.Signer, TrustedSigners]:
    """Return what to sign with; the first key pair is made where nobody is trusted yet."""
    workspace = context.workspace
    if signing_keys.is_first_pair_due(workspace, trust, os.environ) and signing_keys.ensure_key_pair(
        context, os.environ
    ):
        admission.write_policies(workspace)
        reporter.say("policy/ trusts nobody yet: made the first key pair. Commit policy/; keep .slipway/signing safe.")
        trust = trusted_ones.load(workspace.root)
    return signing_keys.load_signer(context, trust, os.environ), trust


def _write_lock(
    workspace: Workspace,
    old_lock: lock.Lock,
    candidates: Sequence[Candidate],
    verified_images: Mapping[str, VerifiedImage],
    new_names: set[str],
    reporter: Reporter,
) -> list[ShippedImage]:
    entries = {candidate.name: verified_images[candidate.name].lock_entry for candidate in candidates}
    new_lock = lock.with_entries(old_lock, entries)
    if new_lock != old_lock:
        path = lock.save(workspace.root, new_lock)
        reporter.say(f"Wrote {path.relative_to(workspace.root)}: commit it.")
    lines = []
    for candidate in candidates:
        is_unchanged = lock.all_entries(old_lock).get(candidate.name) == entries[candidate.name]
        note = (
            "passed, locked"
            if candidate.name in new_names
            else "locked already"
            if is_unchanged
            else "passed before, locked"
        )
        lines.append(ShippedImage(candidate.name, verified_images[candidate.name].ref, note))
    return lines


def _matching_entry(stack_lock: lock.Lock, candidate: Candidate) -> lock.LockEntry | None:
    entry = lock.all_entries(stack_lock).get(candidate.name)
    if entry is None or not entry.evidence:
        return None
    return (
        entry
        if (entry.ref, entry.content) == (f"{candidate.repository}@{candidate.released_digest}", candidate.plan.content)
        else None
    )


def _requirement_for(candidate: Candidate, entry: lock.LockEntry | None) -> EvidenceRequirement:
    if entry:
        return EvidenceRequirement.from_entry(candidate.name, entry, candidate.kinds)
    return EvidenceRequirement(
        candidate.name,
        f"{candidate.repository}@{candidate.released_digest}",
        candidate.plan.content,
        kinds=candidate.kinds,
    )


def _image_from_lock(entry: lock.LockEntry, service: str) -> VerifiedImage:
    return VerifiedImage(entry.ref, service, entry.content, entry.commit, entry.evidence, {}, "")


def _dry_run_line(candidate: Candidate, verified_image: VerifiedImage | None, pending_note: str) -> ShippedImage:
    return (
        ShippedImage(candidate.name, verified_image.ref, "has passed the gate before")
        if verified_image
        else ShippedImage(candidate.name, "-", pending_note)
    )
