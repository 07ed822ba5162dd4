"""Transfers images: from a build's result to a registry, and between registries, with their evidence."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway._internal.commands import crane as commands
from slipway._internal.model.errors import EvidenceError, GateRefused, SlipwayError
from slipway._internal.run.credentials import login_command
from slipway._internal.run.oci import INDEX_TYPE, oci_digest, verify_layout
from slipway._internal.run.process import run
from slipway._internal.run.registries.client import Manifest, Referrer, Registry, tag_conflict
from slipway._internal.run.registries.references import DIGEST_PATTERN, fallback_tag, parse_reference

PUSH_SECONDS = 1800.0
MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class CopyLogins:
    """The folders of the Docker configs to log in with, for each purpose; None is the user's own."""

    push: Path | None = None
    pull: Path | None = None


@dataclass(frozen=True)
class CopyResult:
    """What a copy has put at its target: the image, and the digests of what refers to it or to its parts."""

    digest: str
    evidence: tuple[str, ...]


def push_layout(
    crane: Path,
    layout: Path,
    ref: str,
    log: Path | None = None,
    timeout: float = PUSH_SECONDS,
    config: Path | None = None,
) -> str:
    """Push an OCI layout under a tag and return its digest, having made sure that the registry holds exactly it.

    Args:
        crane: the crane binary.
        layout: the layout's folder, or an archive of it.
        ref: `host/repository:tag`.
        log: a file that gets crane's output.
        timeout: seconds that crane may take.
        config: the folder of the Docker config to log in with; None for the user's own.

    Raises:
        GateRefused: the tag is another image's.
        SlipwayError: the layout is damaged, crane failed, or the registry holds something else afterwards.
    """
    built = verify_layout(layout) if layout.is_dir() else oci_digest(layout)
    reference = parse_reference(ref)
    registry = Registry(reference.host, config)
    current = registry.resolve_digest(reference.repository, reference.reference)
    if current not in (None, built):
        raise tag_conflict(ref, current, built)
    if current is None:
        _push_with_crane(crane, layout, ref, registry, log, timeout, _login_environment(config))
        current = registry.resolve_digest(reference.repository, reference.reference)
    if current != built:
        raise SlipwayError(
            f"{ref} is {current or 'not there'} in the registry, but {built} was pushed",
            remedy="Somebody pushed the same tag meanwhile, or the registry changes images; push again.",
        )
    return built


def push_by_digest(
    crane: Path,
    layout: Path,
    repository: str,
    log: Path | None = None,
    timeout: float = PUSH_SECONDS,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Push an OCI layout's image without any tag and return its digest, having made sure that the registry holds it.

    Args:
        crane: the crane binary.
        layout: the layout's folder; all of it is checked first.
        repository: `host/repository`.
        log: a file that gets crane's output.
        timeout: seconds that crane may take.
        environment: what crane needs to log in (`credentials.environment_for`).

    Raises:
        GateRefused: the layout's bytes are not what was built.
        SlipwayError: crane failed, or the registry does not hold the image afterwards.
    """
    digest = verify_layout(layout)
    ref = f"{repository}@{digest}"
    reference = parse_reference(ref)
    config = (environment or {}).get("DOCKER_CONFIG")
    registry = Registry(reference.host, Path(config) if config else None, seconds=min(timeout, 60.0))
    if registry.find_manifest(reference.repository, digest) is None or not _is_complete(
        registry, reference.repository, digest
    ):
        _push_with_crane(crane, layout, ref, registry, log, timeout, environment or {})
        registry.get_manifest(reference.repository, digest)
    return digest


def copy_image(
    crane: Path,
    source: str,
    target: str,
    *,
    scratch: Path,
    logins: CopyLogins = CopyLogins(),
    log: Path | None = None,
    timeout: float = PUSH_SECONDS,
) -> CopyResult:
    """Copy an image, all its platforms, and all that refers to it, and return what is at the target afterwards.

    The source is read with one login and the target written with the other, so the bytes go through a folder here,
    where they are checked.

    Args:
        crane: the crane binary.
        source: `host/repository@sha256:…`.
        target: `host/repository`.
        scratch: a folder for what is under way.
        logins: for pulling from the source and pushing to the target.
        log: a file that gets crane's output.
        timeout: seconds that all of it may take.

    Raises:
        EvidenceError: the source names evidence that it does not have, or that is of another image.
        GateRefused: what came is not what its digest says.
        SlipwayError: a registry fails or refuses.
    """
    source_ref = parse_reference(source)
    if not DIGEST_PATTERN.fullmatch(source_ref.reference):
        raise SlipwayError(f"{source} names no digest", remedy="Copy by digest: host/repository@sha256:….")
    target_ref = parse_reference(f"{target}@{source_ref.reference}")
    deadline = time.monotonic() + timeout
    source_registry, target_registry = Registry(source_ref.host, logins.pull), Registry(target_ref.host, logins.push)
    scratch.mkdir(parents=True, exist_ok=True)

    def copy_manifest(digest: str) -> None:
        if target_registry.find_manifest(target_ref.repository, digest) and _is_complete(
            target_registry, target_ref.repository, digest
        ):
            return
        with tempfile.TemporaryDirectory(prefix="copy-", dir=scratch) as folder:
            layout = Path(folder) / "oci"
            ref = f"{source_ref.host}/{source_ref.repository}@{digest}"
            result = run(
                commands.pull(crane, ref, layout, plain=source_registry.is_plain_http),
                env=_login_environment(logins.pull),
                log=log,
                timeout=max(1.0, deadline - time.monotonic()),
            )
            if result.code:
                source_registry.get_manifest(
                    source_ref.repository, digest
                )  # a registry that is down, or lacks it, is the better news
                raise SlipwayError(
                    f"{ref} could not be fetched",
                    remedy=f"If the registry asks for a login: `{login_command(source_ref.host, logins.pull)}`.",
                    detail=result.tail(),
                    log=log,
                )
            if oci_digest(layout) != digest:
                raise GateRefused(f"{ref} came as {oci_digest(layout)}", remedy="Do not trust this registry.")
            seconds_left = max(1.0, deadline - time.monotonic())
            push_by_digest(crane, layout, target, log, seconds_left, _login_environment(logins.push))

    copy_manifest(source_ref.reference)
    evidence: dict[str, None] = {}
    subjects = [source_ref.reference, *_child_digests(source_registry, source_ref.repository, source_ref.reference)]
    for subject in subjects:
        found = source_registry.list_referrers(source_ref.repository, subject)
        for referrer in found:
            _require_subject(source_registry, source_ref.repository, referrer, subject)
            copy_manifest(referrer.digest)
        ensure_referrers_listed(target_registry, target_ref.repository, subject, found)
        new = [referrer.digest for referrer in found if referrer.digest not in evidence]
        evidence.update(dict.fromkeys(new))
        subjects += [digest for digest in new if digest not in subjects]
    return CopyResult(source_ref.reference, tuple(evidence))


def ensure_referrers_listed(registry: Registry, repository: str, subject: str, required: Sequence[Referrer]) -> None:
    """Make sure that a registry tells of all that refers to an image, adding to its index where it keeps none itself.

    Raises:
        SlipwayError: it does not, even so.
    """
    for _ in range(MAX_ATTEMPTS):
        known = {referrer.digest: referrer for referrer in registry.list_referrers(repository, subject)}
        missing = [referrer for referrer in required if referrer.digest not in known]
        if not missing:
            return
        if registry.has_referrers_api(repository, subject):
            continue
        listed = [referrer.descriptor() for referrer in (*known.values(), *missing)]
        content = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": listed}, separators=(",", ":"))
        registry.put_manifest(repository, Manifest(content.encode(), "", INDEX_TYPE), fallback_tag(subject))
    raise SlipwayError(
        f"the registry {registry.host} does not tell of {len(missing)} signatures or attestations of {subject}",
        remedy="Somebody else is changing them right now: try again.",
    )


def _require_subject(registry: Registry, repository: str, referrer: Referrer, subject: str) -> None:
    manifest = registry.find_manifest(repository, referrer.digest)
    actual_subject = (manifest.content.get("subject") or {}).get("digest") if manifest else None
    if actual_subject != subject:
        reason = f"belongs to {actual_subject or 'no image'}" if manifest else "is not there"
        raise EvidenceError(
            f"{registry.host}/{repository}: {referrer.digest}, listed as evidence of {subject}, {reason}",
            remedy="Ship the image again, so that its evidence is complete.",
        )


def _child_digests(registry: Registry, repository: str, digest: str) -> list[str]:
    """Return the digests of the manifests that an index lists, at any depth."""
    digests: list[str] = []
    pending = [digest]
    while pending:
        for descriptor in registry.get_manifest(repository, pending.pop()).children:
            if descriptor["digest"] not in digests:
                digests.append(descriptor["digest"])
                pending += [descriptor["digest"]] if "index" in str(descriptor.get("mediaType")) else []
    return digests


def _is_complete(registry: Registry, repository: str, digest: str) -> bool:
    """Return whether an image's manifests are all there; a registry takes no image manifest without its blobs."""
    try:
        return all(registry.resolve_digest(repository, child) for child in _child_digests(registry, repository, digest))
    except SlipwayError:
        return False


def _login_environment(config: Path | None) -> dict[str, str]:
    return {"DOCKER_CONFIG": str(config)} if config else {}


def _push_with_crane(
    crane: Path,
    layout: Path,
    ref: str,
    registry: Registry,
    log: Path | None,
    timeout: float,
    environment: Mapping[str, str],
) -> None:
    result = run(
        commands.push(crane, layout, ref, plain=registry.is_plain_http), env=environment, log=log, timeout=timeout
    )
    if result.code:
        registry.ping()  # a registry that is down is the better news
        raise SlipwayError(
            f"{ref} was not pushed",
            remedy=f"If the registry asks for a login that may push: `{registry.login_command}`.",
            detail=result.tail(),
            log=log,
        )
