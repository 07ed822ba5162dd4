"""Ensures that every base image exists, and records its digest in bases/bases.lock.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slipway._internal.build import bake_runner
from slipway._internal.build.frontends import ensure_frontends
from slipway._internal.commands import base_images as commands
from slipway._internal.content.dockerfile import Dockerfile
from slipway._internal.content.dockerfile import read as read_dockerfile
from slipway._internal.content.dockerignore import load_dockerignore
from slipway._internal.content.frontend import LOCK_PREFIX
from slipway._internal.content.normalized_contexts import normalize_context
from slipway._internal.content.service_inputs import base_argument
from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.model import bases_lock as locks
from slipway._internal.model.bases_lock import GATEWAY_BASE, BasesLock
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.workspace import Workspace
from slipway._internal.toolchain.builder import builder_of

OFFICIAL, HARDENED = "official", "hardened"


def ensure_bases(
    workspace: Workspace,
    context: RunContext,
    reporter: Reporter,
    *,
    install: bool = True,
    fresh: bool = False,
    preview: bool = False,
) -> dict[str, str]:
    """Return each needed base by digest, building those that are missing; some milliseconds when none is.

    Official bases are taken as workspace.toml has them. Hardened ones are built once for each state of their
    files in bases/ and pushed to the workspace's registry, where they are found again. Frontends that Dockerfiles ask
    for are with them.

    Args:
        workspace: whose services say what is needed.
        context: tools and builder.
        reporter: told what is decided and done, before it is.
        install: False refuses to install what is missing.
        fresh: build hardened bases again although they are there, with the packages of today.
        preview: leave frontends as they are locked: no service is built.

    Raises:
        ConfigError: a service starts from a base that nothing provides.
        SlipwayError: a base could not be made.
    """
    old_lock = _load_lock(workspace)
    dockerfiles = read_dockerfiles(workspace)
    names = required_bases(workspace, dockerfiles)
    source = choose_source(workspace, old_lock, reporter)
    named = workspace.settings.bases.official
    official = [name for name in names if source == OFFICIAL and (name in named or name not in commands.HARDENED_ONLY)]
    hardened = [name for name in names if name not in official]
    refs = official_bases(workspace, official)
    if hardened:
        refs |= _ensure_hardened(context, hardened, reporter, install=install, fresh=fresh)
    locked = old_lock.bases if old_lock else {}
    if preview:
        refs |= {name: ref for name, ref in locked.items() if name.startswith(LOCK_PREFIX)}
    else:
        refs |= ensure_frontends(context, dockerfiles, locked, reporter, install=install)
    new_lock = BasesLock(source, refs)
    if new_lock != old_lock:
        locks.save(workspace.root, new_lock)
        reporter.say(f"Wrote {locks.path_of(workspace.root).relative_to(workspace.root)}: commit it.")
    return refs


def read_dockerfiles(workspace: Workspace) -> dict[str, Dockerfile]:
    """Return the Dockerfile of each service that is built."""
    return {service.name: read_dockerfile(service.dockerfile) for service in workspace.built_services}


def required_bases(workspace: Workspace, dockerfiles: Mapping[str, Dockerfile]) -> list[str]:
    """Return the names of the bases that services' Dockerfiles declare as arguments, and the gateway's."""
    base_by_argument = {
        base_argument(name): name for name in (*workspace.settings.bases.official, *commands.BUILDABLE_BASES)
    }
    declared = {argument for dockerfile in dockerfiles.values() for argument in dockerfile.arguments}
    return sorted({base_by_argument[argument] for argument in declared & base_by_argument.keys()} | {GATEWAY_BASE})


def choose_source(workspace: Workspace, old_lock: BasesLock | None, reporter: Reporter) -> str:
    """Return where bases come from. `auto` is decided once, by trying; the lock keeps it for everyone."""
    source = workspace.settings.bases.source
    if source != "auto":
        return source
    if old_lock:
        return old_lock.source
    ref = next(iter(workspace.settings.bases.official.values()), "")
    obstacle = pull_obstacle(ref) if ref else "workspace.toml names none"
    if obstacle:
        reporter.say(f"Base images: hardened ones, built here; official ones are unavailable ({obstacle}).")
        return HARDENED
    reporter.say("Base images: the official ones, by the digests in workspace.toml.")
    return OFFICIAL


def pull_obstacle(ref: str) -> str:
    """Return why an image cannot be pulled from here; nothing when it can. Takes some seconds at most."""
    from slipway._internal.run import registry

    reference = registry.parse_reference(ref)
    try:
        digest = registry.Registry(reference.host).resolve_digest(reference.repository, reference.reference)
    except SlipwayError as error:
        return error.message
    return "" if digest else f"{reference.host} does not have {ref}"


def official_bases(workspace: Workspace, names: Sequence[str]) -> dict[str, str]:
    """Return the official bases, as workspace.toml names them.

    Raises:
        ConfigError: it does not name one that is needed.
    """
    refs = workspace.settings.bases.official
    missing = [name for name in names if name not in refs]
    if missing:
        raise ConfigError(
            f"{workspace.root / 'workspace.toml'}: [bases.official] does not name {', '.join(missing)}",
            remedy=f'Add {missing[0]} = "image@sha256:…" there, or set source = "hardened" under [bases].',
        )
    return {name: refs[name] for name in names}


def hardened_tags(workspace: Workspace, names: Sequence[str]) -> dict[str, str]:
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
    bases = [commands.BUILDABLE_BASES[name] for name in names]
    for path in {*commands.SHARED_FILES, *(f"{base.folder}/Dockerfile" for base in bases)} - files.keys():
        raise ConfigError(f"{folder / path} is missing", remedy=_restore_remedy(path))
    return {
        base.name: f"{workspace.repository(base.repository_name)}:{commands.content_tag_of(base, files, platforms)}"
        for base in bases
    }


def _restore_remedy(path: str) -> str:
    """Return how to get a file of bases/ back that is missing."""
    return (
        f"Restore it from git: git checkout HEAD -- bases/{path}\n"
        "If git never had it, the engine is newer than the workspace's files: `invoke update` brings them."
    )


def _load_lock(workspace: Workspace) -> BasesLock | None:
    """Return the lock, or None where there is none yet; a damaged one is an error."""
    return locks.load(workspace.root) if locks.path_of(workspace.root).exists() else None


def _ensure_hardened(
    context: RunContext, names: Sequence[str], reporter: Reporter, *, install: bool, fresh: bool
) -> dict[str, str]:
    """Return the hardened bases by digest, and the workspace's own as it names them."""
    from slipway._internal.run import registry

    workspace = context.workspace
    custom = [name for name in names if name not in commands.BUILDABLE_BASES]
    tags = hardened_tags(workspace, [name for name in names if name not in custom])
    digests = registry.resolve_digests(tags.values(), workspace)
    if fresh or not all(digests.values()):
        _build_missing(context, tags, reporter, install=install, fresh=fresh)
        digests = registry.resolve_digests(tags.values(), workspace)
    refs = {
        name: f"{workspace.repository(commands.BUILDABLE_BASES[name].repository_name)}@{digests[ref]}"
        for name, ref in tags.items()
    }
    return {**refs, **official_bases(workspace, custom)}


def _build_missing(
    context: RunContext, tags: Mapping[str, str], reporter: Reporter, *, install: bool, fresh: bool
) -> None:
    """Build what the registry lacks, or all if `fresh`; someone else who does that is waited for."""
    from slipway._internal.build.bootstrap import bootstrap_debian
    from slipway._internal.run import registry
    from slipway._internal.toolchain import builder
    from slipway._internal.toolchain.locking import file_lock

    workspace = context.workspace
    builder.ensure_builder(install=install, on_line=reporter.say)
    lock = workspace.scratch / "bases" / ".lock"
    with file_lock(lock, lambda: reporter.say("Base images: another build is running, waiting.")):
        digests = {} if fresh else registry.resolve_digests(tags.values(), workspace)
        missing = {name: ref for name, ref in tags.items() if not digests.get(ref)}
        if not missing:
            return
        reporter.say(f"Base images: building {', '.join(sorted(missing))}; once, in some minutes.")
        debian_ref = read_dockerfile(workspace.root / "bases" / "python" / "Dockerfile").arguments.get("DEBIAN")
        debian_reachable = debian_ref and not pull_obstacle(debian_ref)
        rootfs = None if debian_reachable else bootstrap_debian(workspace, reporter, install=install, fresh=fresh)
        _bake_bases(context, missing, reporter, rootfs=rootfs, fresh=fresh)


def _bake_bases(
    context: RunContext, tags: Mapping[str, str], reporter: Reporter, *, rootfs: Path | None, fresh: bool
) -> None:
    """Build and push bases, all in one bake."""
    from slipway._internal.build.bootstrap import is_cross_platform

    workspace = context.workspace
    folder = workspace.root / "bases"
    folder = normalize_context(folder, load_dockerignore(folder), workspace.scratch)

    def create_bake(secrets: Mapping[str, Path], buildx: Path, file: Path) -> tuple[Mapping[str, Any], list[str]]:
        platforms = workspace.settings.build.platforms
        definition = commands.make_definition(
            tags, folder, platforms, rootfs=rootfs, secrets=secrets, fresh=fresh, foreign=is_cross_platform(workspace)
        )
        return definition, commands.argv(buildx, file, builder_of(workspace), tags, rootfs)

    try:
        bake_runner.run_bake(context, [*tags, *([commands.BOOTSTRAP] if rootfs else [])], reporter, create_bake)
    except SlipwayError as error:
        error.remedy = "If the package mirror could not be reached, try again; else look at bases/ and the log."
        raise
    for name in tags:
        reporter.done(name, "built")
