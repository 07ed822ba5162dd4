"""Carrying images: from a build's result to a registry, and from one registry to another, with all that proves them."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.commands import crane as commands
from slipway.model.errors import EvidenceError, GateRefused, SlipwayError
from slipway.run.credentials import config_in_environment, login_command
from slipway.run.oci import INDEX, check, oci_digest
from slipway.run.process import run
from slipway.run.registries.door import Manifest, Referrer, Registry, immutable
from slipway.run.registries.names import DIGEST, fallback_tag, parse

PUSH_SECONDS = 1800.0
ATTEMPTS = 3


@dataclass(frozen=True)
class Logins:
    """The folders of the Docker configs to log in with, for each purpose; None is the user's own."""

    push: Path | None = None
    pull: Path | None = None


@dataclass(frozen=True)
class Copied:
    """What a copy has put at its target: the image, and the digests of what refers to it or to its parts."""

    digest: str
    evidence: tuple[str, ...]


def push(crane: Path, layout: Path, ref: str, log: Path | None = None, timeout: float = PUSH_SECONDS) -> str:
    """Push an OCI layout under a tag and return its digest, having made sure that the registry holds exactly it.

    Args:
        crane: the crane binary.
        layout: the layout's folder, or an archive of it.
        ref: `host/repository:tag`.
        log: a file that gets crane's output.
        timeout: seconds that crane may take.

    Raises:
        GateRefused: the tag is another image's.
        SlipwayError: the layout is damaged, crane failed, or the registry holds something else afterwards.
    """
    config = config_in_environment("push")
    built = check(layout) if layout.is_dir() else oci_digest(layout)
    part = parse(ref)
    registry = Registry(part.host, config)
    held = registry.digest(part.repository, part.reference)
    if held not in (None, built):
        raise immutable(ref, held, built)
    if held is None:
        _crane(crane, layout, ref, registry, log, timeout, _login(config))
        held = registry.digest(part.repository, part.reference)
    if held != built:
        raise SlipwayError(
            f"{ref} is {held or 'not there'} in the registry, but {built} was pushed",
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
    digest = check(layout)
    ref = f"{repository}@{digest}"
    part = parse(ref)
    config = (environment or {}).get("DOCKER_CONFIG")
    registry = Registry(part.host, Path(config) if config else None, seconds=min(timeout, 60.0))
    if registry.find(part.repository, digest) is None or not _whole(registry, part.repository, digest):
        _crane(crane, layout, ref, registry, log, timeout, environment or {})
        registry.manifest(part.repository, digest)
    return digest


def copy(
    crane: Path,
    source: str,
    target: str,
    *,
    scratch: Path,
    logins: Logins = Logins(),
    log: Path | None = None,
    timeout: float = PUSH_SECONDS,
) -> Copied:
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
    start, goal = parse(source), parse(f"{target}@{source.partition('@')[2]}")
    if not DIGEST.fullmatch(start.reference):
        raise SlipwayError(f"{source} names no digest", remedy="Copy by digest: host/repository@sha256:….")
    end = time.monotonic() + timeout
    read, write = Registry(start.host, logins.pull), Registry(goal.host, logins.push)
    scratch.mkdir(parents=True, exist_ok=True)

    def carry(digest: str) -> None:
        if write.find(goal.repository, digest) and _whole(write, goal.repository, digest):
            return
        with tempfile.TemporaryDirectory(prefix="copy-", dir=scratch) as folder:
            layout = Path(folder) / "oci"
            ref = f"{start.host}/{start.repository}@{digest}"
            result = run(
                commands.pull(crane, ref, layout, plain=read.plain),
                env=_login(logins.pull),
                log=log,
                timeout=max(1.0, end - time.monotonic()),
            )
            if result.code:
                read.manifest(start.repository, digest)  # a registry that is down, or lacks it, is the better news
                raise SlipwayError(
                    f"{ref} could not be fetched",
                    remedy=f"If the registry asks for a login: `{login_command(start.host, logins.pull)}`.",
                    detail=result.tail(),
                    log=log,
                )
            if oci_digest(layout) != digest:
                raise GateRefused(f"{ref} came as {oci_digest(layout)}", remedy="The registry is not to be trusted.")
            left = max(1.0, end - time.monotonic())
            push_by_digest(crane, layout, target, log, left, _login(logins.push))

    carry(start.reference)
    evidence: dict[str, None] = {}
    subjects = [start.reference, *_parts(read, start.repository, start.reference)]
    for subject in subjects:
        found = read.referrers(start.repository, subject)
        for each in found:
            _refers(read, start.repository, each, subject)
            carry(each.digest)
        complete(write, goal.repository, subject, found)
        new = [each.digest for each in found if each.digest not in evidence]
        evidence.update(dict.fromkeys(new))
        subjects += [digest for digest in new if digest not in subjects]
    return Copied(start.reference, tuple(evidence))


def complete(registry: Registry, repository: str, subject: str, needed: Sequence[Referrer]) -> None:
    """Make sure that a registry tells of all that refers to an image, adding to its index where it keeps none itself.

    Raises:
        SlipwayError: it does not, even so.
    """
    for _ in range(ATTEMPTS):
        known = {each.digest: each for each in registry.referrers(repository, subject)}
        missing = [each for each in needed if each.digest not in known]
        if not missing:
            return
        if registry.has_referrers_api(repository, subject):
            continue
        listed = [each.descriptor() for each in (*known.values(), *missing)]
        content = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}, separators=(",", ":"))
        registry.put(repository, Manifest(content.encode(), "", INDEX), fallback_tag(subject))
    raise SlipwayError(
        f"the registry {registry.host} does not tell of {len(missing)} signatures or attestations of {subject}",
        remedy="Somebody else changes them at this moment: try again.",
    )


def _refers(registry: Registry, repository: str, referrer: Referrer, subject: str) -> None:
    manifest = registry.find(repository, referrer.digest)
    named = (manifest.content.get("subject") or {}).get("digest") if manifest else None
    if named != subject:
        why = f"belongs to {named or 'no image'}" if manifest else "is not there"
        raise EvidenceError(
            f"{registry.host}/{repository}: {referrer.digest}, listed as evidence of {subject}, {why}",
            remedy="Ship the image again, so that its evidence is whole.",
        )


def _parts(registry: Registry, repository: str, digest: str) -> list[str]:
    """Return the digests of the manifests that an index lists, at any depth."""
    found: list[str] = []
    todo = [digest]
    while todo:
        for each in registry.manifest(repository, todo.pop()).children:
            if each["digest"] not in found:
                found.append(each["digest"])
                todo += [each["digest"]] if "index" in str(each.get("mediaType")) else []
    return found


def _whole(registry: Registry, repository: str, digest: str) -> bool:
    """Return whether an image's manifests are all there; a registry takes no image manifest without its blobs."""
    try:
        return all(registry.digest(repository, each) for each in _parts(registry, repository, digest))
    except SlipwayError:
        return False


def _login(config: Path | None) -> dict[str, str]:
    return {"DOCKER_CONFIG": str(config)} if config else {}


def _crane(
    crane: Path,
    layout: Path,
    ref: str,
    registry: Registry,
    log: Path | None,
    timeout: float,
    environment: Mapping[str, str],
) -> None:
    result = run(commands.push(crane, layout, ref, plain=registry.plain), env=environment, log=log, timeout=timeout)
    if result.code:
        registry.ping()  # a registry that is down is the better news
        raise SlipwayError(
            f"{ref} was not pushed",
            remedy=f"If the registry asks for a login that may push: `{registry.login_command}`.",
            detail=result.tail(),
            log=log,
        )
