"""Makes sure that every base image is there, and writes down which one it is: bases/bases.lock.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slipway.commands import bases as commands
from slipway.content.dockerfile import read as read_dockerfile
from slipway.content.ignore import of_context
from slipway.content.mirror import normal_context
from slipway.content.service import argument_of
from slipway.flows import baking
from slipway.flows.report import Report
from slipway.flows.standing import Ground
from slipway.model import bases as locks
from slipway.model.bases import GATEWAY, BasesLock
from slipway.model.errors import ConfigError, SlipwayError
from slipway.model.workspace import Workspace
from slipway.toolchain.builder import name_of as builder_of

OFFICIAL, HARDENED = "official", "hardened"


def ensure_bases(
    workspace: Workspace, ground: Ground, report: Report, *, install: bool = True, fresh: bool = False
) -> dict[str, str]:
    """Return each needed base by digest, building those that are missing; some milliseconds when none is.

    Official bases are taken as workspace.toml has them. Hardened ones are built once for each state of their
    files in bases/ and pushed to the workspace's registry, where they are found again.

    Args:
        workspace: whose services say what is needed.
        ground: tools and builder.
        report: told what is decided and done, before it is.
        install: False refuses to install what is missing.
        fresh: build hardened bases again although they are there, with the packages of today.

    Raises:
        ConfigError: a service starts from a base that nothing provides.
        SlipwayError: a base could not be made.
    """
    before = _locked(workspace)
    needed = needed_bases(workspace)
    source = chosen_source(workspace, before, report)
    if source == OFFICIAL:
        found = official(workspace, needed)
    else:
        found = _hardened(ground, needed, report, install=install, fresh=fresh)
    after = BasesLock(source, found)
    if after != before:
        locks.save(workspace.root, after)
        report.say(f"Wrote {locks.path_of(workspace.root).relative_to(workspace.root)}: commit it.")
    return found


def needed_bases(workspace: Workspace) -> list[str]:
    """Return the names of the bases that services' Dockerfiles declare as arguments, and the gateway's."""
    known = {argument_of(name): name for name in (*workspace.settings.bases.official, *commands.BASES)}
    declared = {
        argument for service in workspace.services for argument in read_dockerfile(service.dockerfile).arguments
    }
    return sorted({known[argument] for argument in declared & known.keys()} | {GATEWAY})


def chosen_source(workspace: Workspace, before: BasesLock | None, report: Report) -> str:
    """Return where bases come from. `auto` is decided once, by trying; the lock keeps it for everyone."""
    wanted = workspace.settings.bases.source
    if wanted != "auto":
        return wanted
    if before:
        return before.source
    ref = workspace.settings.bases.official.get(GATEWAY, "")
    obstacle = why_not_pulled(ref) if ref else "workspace.toml names none"
    if obstacle:
        report.say(f"Base images: hardened ones, built here; official ones cannot be had ({obstacle}).")
        return HARDENED
    report.say("Base images: the official ones, by the digests in workspace.toml.")
    return OFFICIAL


def why_not_pulled(ref: str) -> str:
    """Return why an image cannot be pulled from here; nothing when it can. Takes some seconds at most."""
    from slipway.run import registry

    part = registry.parse(ref)
    try:
        found = registry.Registry(part.host).digest(part.repository, part.reference)
    except SlipwayError as error:
        return error.what
    return "" if found else f"{part.host} does not have {ref}"


def official(workspace: Workspace, needed: Sequence[str]) -> dict[str, str]:
    """Return the official bases, as workspace.toml names them.

    Raises:
        ConfigError: it does not name one that is needed.
    """
    refs = workspace.settings.bases.official
    missing = [name for name in needed if name not in refs]
    if missing:
        raise ConfigError(
            f"{workspace.root / 'workspace.toml'}: [bases.official] does not name {', '.join(missing)}",
            remedy=f'Add {missing[0]} = "image@sha256:…" there, or set source = "hardened" under [bases].',
        )
    return {name: refs[name] for name in needed}


def wanted_tags(workspace: Workspace, names: Sequence[str]) -> dict[str, str]:
    """Return each hardened base's full name; it changes when a file in bases/ does that decides the base.

    Raises:
        ConfigError: a file is missing.
    """
    folder = workspace.root / "bases"
    platforms = workspace.settings.build.platforms
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".json"
    }
    bases = [commands.BASES[name] for name in names]
    for path in {*commands.SHARED, *(f"{base.folder}/Dockerfile" for base in bases)} - files.keys():
        raise ConfigError(f"{folder / path} is missing", remedy="Restore it from git, or run `invoke update`.")
    return {base.name: f"{workspace.repository(base.image)}:{commands.tag(base, files, platforms)}" for base in bases}


def _locked(workspace: Workspace) -> BasesLock | None:
    """Return the lock, or None where there is none yet; a damaged one is an error."""
    return locks.load(workspace.root) if locks.path_of(workspace.root).exists() else None


def _hardened(ground: Ground, needed: Sequence[str], report: Report, *, install: bool, fresh: bool) -> dict[str, str]:
    """Return the hardened bases by digest, and the workspace's own as it names them."""
    from slipway.run import registry

    workspace = ground.workspace
    foreign = [name for name in needed if name not in commands.BASES]
    tags = wanted_tags(workspace, [name for name in needed if name not in foreign])
    there = registry.digests(tags.values())
    if fresh or not all(there.values()):
        _make(ground, tags, report, install=install, fresh=fresh)
        there = registry.digests(tags.values())
    found = {name: f"{workspace.repository(commands.BASES[name].image)}@{there[ref]}" for name, ref in tags.items()}
    return {**found, **official(workspace, foreign)}


def _make(ground: Ground, tags: Mapping[str, str], report: Report, *, install: bool, fresh: bool) -> None:
    """Build what the registry lacks, or all if `fresh`; someone else who does that is waited for."""
    from slipway.flows.bootstrap import bootstrap
    from slipway.run import registry
    from slipway.toolchain import builder
    from slipway.toolchain.locking import alone

    workspace = ground.workspace
    builder.ensure(install=install, on_line=report.say)
    lock = workspace.scratch / "bases" / ".lock"
    with alone(lock, lambda: report.say("Base images: another build is under way, waiting.")):
        there = {} if fresh else registry.digests(tags.values())
        missing = {name: ref for name, ref in tags.items() if not there.get(ref)}
        if not missing:
            return
        report.say(f"Base images: building {', '.join(sorted(missing))}; once, and it takes some minutes.")
        start = read_dockerfile(workspace.root / "bases" / "python" / "Dockerfile").arguments.get("DEBIAN")
        reachable = start and not why_not_pulled(start)
        rootfs = None if reachable else bootstrap(workspace, report, install=install, fresh=fresh)
        _bake(ground, missing, report, rootfs=rootfs, fresh=fresh)


def _bake(ground: Ground, tags: Mapping[str, str], report: Report, *, rootfs: Path | None, fresh: bool) -> None:
    """Build and push bases, all in one bake."""
    from slipway.flows.bootstrap import is_foreign

    workspace = ground.workspace
    folder = workspace.root / "bases"
    folder = normal_context(folder, of_context(folder), workspace.scratch)

    def made(secrets: Mapping[str, Path], buildx: Path, file: Path) -> tuple[Mapping[str, Any], list[str]]:
        platforms = workspace.settings.build.platforms
        definition = commands.definition(
            tags, folder, platforms, rootfs=rootfs, secrets=secrets, fresh=fresh, foreign=is_foreign(workspace)
        )
        return definition, commands.argv(buildx, file, builder_of(workspace), tags, rootfs)

    try:
        baking.carry_out(ground, [*tags, *([commands.BOOTSTRAP] if rootfs else [])], report, made)
    except SlipwayError as error:
        error.remedy = "If the package mirror could not be reached, try again; else look at bases/ and the log."
        raise
    for name in tags:
        report.done(name, "built")
