"""Prunes the registries, this workspace's scratch folder and the builder's cache.

Order of deletion: an image first, then its parts, then its evidence, so that a killed run leaves no image without
them; what is to go is written down before, so that the next run finds the rest, which no registry tells of.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from slipway._internal.commands import builder_cache as commands
from slipway._internal.commands.bake import CACHE_SUFFIX
from slipway._internal.content import build_state
from slipway._internal.content.digest import content_digests
from slipway._internal.content.normalized_contexts import CONTEXTS_FOLDER as COPIES
from slipway._internal.content.normalized_contexts import copy_path
from slipway._internal.content.service_inputs import build_inputs_by_service
from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.model import bases_lock, lock
from slipway._internal.model import stack as stacks
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.files import write_atomically
from slipway._internal.model.names import content_tag
from slipway._internal.model.structured_files import path_exists, read_json
from slipway._internal.model.workspace import Workspace
from slipway._internal.prune.inventory import RepositoryInventory, take_inventory
from slipway._internal.prune.retention import RepositoryType, RetentionDecision, decide_retention
from slipway._internal.run.credentials import login_config_of
from slipway._internal.run.process import run
from slipway._internal.run.registry import Registry, parse_reference
from slipway._internal.toolchain import builder
from slipway._internal.toolchain import registry_daemon as local

BASE_PREFIX, RELEASE_PREFIX = "base-", "release/"
CACHE_SECONDS = 600.0


@dataclass(frozen=True)
class Deletion:
    """One manifest that goes from a repository (`host/repository`), and why.

    `images` are those that it is, or belongs to; `bytes` come free with it and with no deletion before it.
    """

    repository: str
    digest: str
    why: str
    images: frozenset[str] = frozenset()
    bytes: int = 0


@dataclass(frozen=True)
class PrunePlan:
    """What goes, in the order in which it goes, and what stays.

    `decisions` are by repository; `folder_bytes` come free in `.slipway`, about `cache_bytes` in the builder's cache.
    """

    decisions: tuple[tuple[str, RetentionDecision], ...]
    deletions: tuple[Deletion, ...]
    folders: tuple[Path, ...]
    folder_bytes: int
    cache_bytes: int
    hosts_to_collect: tuple[str, ...]
    """Slipway's own registries in which garbage is to be collected."""

    @property
    def bytes(self) -> int:
        """What comes free in the registries; in one that is not Slipway's own, once it collects its garbage."""
        return sum(deletion.bytes for deletion in self.deletions)

    @property
    def is_empty(self) -> bool:
        return not (self.deletions or self.folders or self.cache_bytes or self.hosts_to_collect)

    def rows(self) -> list[tuple[str, str, str]]:
        """Return a line for each image, folder or cache that goes: what it is, why it goes, how much comes free."""
        tags = {(name, item.image.digest): item.image.tags for name, item in self.decisions}
        sizes: dict[tuple[str, str], int] = {}
        for item in self.deletions:
            image = min(item.images, default="")
            label = ":".join(tags.get((item.repository, image), ())[:1]) or image[7:19] or "evidence"
            key = (f"{item.repository} {label}", item.why)
            sizes[key] = sizes.get(key, 0) + item.bytes
        rows = [(what, why, format_bytes(size)) for (what, why), size in sizes.items()]
        rows += [(str(item), "not of the present sources", format_bytes(_folder_bytes(item))) for item in self.folders]
        if self.cache_bytes:
            rows.append(("the builder's cache", "not used for a long time", f"about {format_bytes(self.cache_bytes)}"))
        if self.hosts_to_collect and not self.deletions:
            rows.append(
                (", ".join(self.hosts_to_collect), "an earlier run was stopped before it collected garbage", "")
            )
        return rows

    def summary(self) -> str:
        """Return the whole in a sentence."""
        images = {(deletion.repository, image) for deletion in self.deletions for image in deletion.images}
        total = format_bytes(self.bytes + self.folder_bytes + self.cache_bytes)
        approximately = "about " if self.cache_bytes else ""
        return f"{len(images)} images and {len(self.folders)} results would go; {approximately}{total} come free."


@dataclass(frozen=True)
class FreedBytes:
    """How many bytes came free: in Slipway's own registries, in `.slipway`, in the builder's cache."""

    registries: int
    folders: int
    cache: int


def plan_prune(
    context: RunContext, needed: Mapping[str, str], now: datetime, *, current: Mapping[str, str] | None = None
) -> PrunePlan:
    """Return what may go; nothing is changed.

    Args:
        context: the workspace and its tools.
        needed: digest → why it is needed: of every release of every stack. Locks and bases are added here.
        now: the time to reckon from.
        current: service → content digest of what the sources are now; else it is computed.

    Raises:
        EvidenceError: a lock is damaged, so nobody knows what it names.
        SlipwayError: a registry does not answer, or refuses.
    """
    workspace = context.workspace
    current_digests = current_contents(workspace) if current is None else current
    needed_digests = {**digests_in_files(workspace), **needed}
    journal = _read_journal(workspace)
    inventories = _take_inventories(workspace, needed_digests, journal)
    kept_digests = _with_dependents(inventories, needed_digests)
    decisions: list[tuple[str, RetentionDecision]] = []
    deletions: list[Deletion] = []
    for inventory in inventories:
        repository_decisions = decide_retention(
            inventory.images(),
            inventory.repository_type,
            needed=needed_digests,
            current={content_tag(content) for content in current_digests.values()},
            retention=workspace.settings.retention,
            now=now,
        )
        decisions += [(inventory.name, decision) for decision in repository_decisions]
        deletions += _plan_deletions(inventory, repository_decisions, kept_digests, journal.get(inventory.name, ()))
    own_registries = {
        parse_reference(name).host: name
        for name in (inventory.name for inventory in inventories)
        if local.is_started_by_slipway(parse_reference(name).host)
    }
    touched_hosts = {parse_reference(deletion.repository).host for deletion in deletions} | {
        parse_reference(name).host for name in journal
    }
    folders = outdated_folders(workspace, current_digests)
    return PrunePlan(
        tuple(decisions),
        tuple(_with_freed_bytes([*inventories, *_foreign_inventories(inventories)], deletions)),
        tuple(folders),
        sum(_folder_bytes(folder) for folder in folders),
        _cache_bytes(context),
        tuple(sorted(host for host in own_registries if host in touched_hosts)),
    )


def execute_prune(
    context: RunContext, plan: PrunePlan, reporter: Reporter, needed: Mapping[str, str] | None = None
) -> FreedBytes:
    """Delete what was planned and return what came free; killed in the middle, the next run takes the rest.

    Args:
        context: the workspace and its tools.
        plan: from `plan_prune`.
        reporter: told each step.
        needed: asked anew, where time has passed since: an image in it stays, with all that is its.

    Raises:
        SlipwayError: a registry refuses, or does not answer.
    """
    workspace = context.workspace
    build_state.forget_images(workspace.root)
    needed_names = set(needed or {})
    deletions = [deletion for deletion in plan.deletions if not needed_names & {deletion.digest, *deletion.images}]
    if deletions:
        _write_journal(workspace, deletions)
    registries: dict[str, Registry] = {}
    for deletion in deletions:
        repository_ref = parse_reference(deletion.repository)
        reporter.step(repository_ref.repository, "deleting", deletion.digest[7:19])
        if repository_ref.host not in registries:
            registries[repository_ref.host] = Registry(repository_ref.host, login_config_of(workspace, "push"))
        registries[repository_ref.host].delete_manifest(repository_ref.repository, deletion.digest)
    for name in dict.fromkeys(deletion.repository for deletion in deletions):
        count = sum(deletion.repository == name for deletion in deletions)
        reporter.done(parse_reference(name).repository, f"{count} manifests deleted")
    for folder in plan.folders:
        shutil.rmtree(folder, ignore_errors=True)
    collected_bytes = sum(local.collect_garbage(host, on_line=reporter.say) for host in plan.hosts_to_collect)
    _journal_path(workspace).unlink(missing_ok=True)
    freed = FreedBytes(collected_bytes, plan.folder_bytes, _prune_cache(context) if plan.cache_bytes else 0)
    reporter.say(
        f"Came free: {format_bytes(freed.registries)} in the registry on this machine, {format_bytes(freed.folders)} "
        "in .slipway, "
        f"{format_bytes(freed.cache)} in the builder's cache."
    )
    return freed


def format_bytes(size: int) -> str:
    """Return a number of bytes as people write it."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size} {unit}"
        size = round(size / 1000)
    return f"{size} GB"


def digests_in_files(workspace: Workspace) -> dict[str, str]:
    """Return every digest that a lock or the bases' lock names, and which of them does.

    Raises:
        EvidenceError: one of them is damaged.
    """
    digests: dict[str, str] = {}
    if bases_lock.path_of(workspace.root).is_file():
        for name, ref in bases_lock.load(workspace.root).bases.items():
            digests[ref.rpartition("@")[2]] = f"the base {name}"
    for path in sorted((workspace.root / "deploy").glob("*.lock.json")):
        stack = path.name.removesuffix(".lock.json")
        for entry in lock.all_entries(lock.load(workspace.root, stack)).values():
            for digest in (entry.ref.rpartition("@")[2], *entry.evidence.values()):
                digests[digest] = f"{path.relative_to(workspace.root)} names it"
    return digests


def current_contents(workspace: Workspace) -> dict[str, str]:
    """Return each service's content digest as its sources are now.

    Raises:
        EvidenceError: the bases are not resolved, so nobody can say.
    """
    return content_digests(build_inputs_by_service(workspace, workspace.services))


def outdated_folders(workspace: Workspace, contents: Mapping[str, str]) -> list[Path]:
    """Return the folders of results, and of copied contexts, that are not of what the sources are now."""
    outdated = [
        path
        for kind in ("oci", "gate")
        for path in sorted((workspace.scratch / kind).glob("*/*/"))
        if not path.parent.name.startswith(".") and contents.get(path.parent.name) != path.name
    ]
    roots = [workspace.root / "bases", *(service.folder for service in workspace.services)]
    roots += sorted((workspace.root / "libs").glob("*/"))
    current_copies = {copy_path(root, workspace.scratch).parent for root in roots}
    outdated += [path for path in sorted((workspace.scratch / COPIES).glob("*/")) if path not in current_copies]
    return [path for path in outdated if not path.is_symlink()]


def classify_repositories(
    workspace: Workspace, registry: str, catalog: Sequence[str] | None
) -> dict[str, RepositoryType]:
    """Return the repositories that this workspace has in a registry, and what each is for.

    Args:
        workspace: the workspace.
        registry: `host[:port][/path]`.
        catalog: all repositories of its host; None where it does not tell them, which leaves those of the services.
    """
    prefix = f"{parse_reference(f'{registry}/{workspace.name}/x').repository.removesuffix('x')}"
    if catalog is None:
        names = [name for service in workspace.services for name in (service.name, f"{RELEASE_PREFIX}{service.name}")]
        names += [f"{RELEASE_PREFIX}{name}" for name in lock.PREBUILT]
    else:
        names = [name.removeprefix(prefix) for name in catalog if name.startswith(prefix)]
    types: dict[str, RepositoryType] = {}
    for name in names:
        if name.startswith(RELEASE_PREFIX) and name.count("/") == 1:
            types[prefix + name] = "release"
        elif "/" not in name:
            types[prefix + name] = (
                "other" if name.startswith(BASE_PREFIX) or name.endswith(CACHE_SUFFIX) else "development"
            )
    return types


def _take_inventories(
    workspace: Workspace, needed: Mapping[str, str], journal: Mapping[str, Sequence[str]]
) -> list[RepositoryInventory]:
    """Return what all repositories of this workspace hold, needed images without a tag among it."""
    stack_registries = [stacks.load(workspace.root, name, {}).registry for name in stacks.names(workspace.root)]
    config = login_config_of(workspace, "pull")
    inventories: dict[str, RepositoryInventory] = {}
    for address in dict.fromkeys((workspace.registry, *filter(None, stack_registries))):
        registry = Registry(parse_reference(f"{address}/x").host, config)
        is_local = local.is_started_by_slipway(registry.host)
        for name, repository_type in classify_repositories(workspace, address, registry.list_repositories()).items():
            uploaded_at = local.list_revisions(registry.host, name) if is_local else {}
            full_name = f"{registry.host}/{name}"
            inventories.setdefault(
                full_name, take_inventory(registry, name, repository_type, uploaded_at, journal.get(full_name, ()))
            )
    listed_digests = {digest for inventory in inventories.values() for digest in inventory.manifests}
    missing = [digest for digest in needed if digest not in listed_digests and digest.startswith("sha256:")]
    if not missing:
        return list(inventories.values())
    return [
        take_inventory(
            inventory.registry,
            inventory.repository,
            inventory.repository_type,
            inventory.uploaded_at,
            (*journal.get(inventory.name, ()), *missing),
        )
        for inventory in inventories.values()
    ]


def _with_dependents(inventories: Sequence[RepositoryInventory], needed: Mapping[str, str]) -> dict[str, str]:
    """Return the needed digests with all their parts and evidence, in whichever repository."""
    digests = dict(needed)
    for inventory in inventories:
        for digest, why in needed.items():
            if digest in inventory.manifests:
                digests |= {dependent: digests.get(dependent, why) for dependent in inventory.with_dependents(digest)}
    return digests


def _plan_deletions(
    inventory: RepositoryInventory,
    decisions: Sequence[RetentionDecision],
    needed: Mapping[str, str],
    leftovers: Sequence[str],
) -> list[Deletion]:
    """Return what goes from a repository: images with what is only theirs, and evidence of what is not there."""
    kept = set(needed) & inventory.manifests.keys()
    for decision in decisions:
        if decision.is_kept:
            kept |= {decision.image.digest, *inventory.with_dependents(decision.image.digest)}
    reasons: dict[str, str] = {}
    images: dict[str, set[str]] = {}
    for decision in decisions:
        if not decision.is_kept:
            for digest in inventory.with_dependents(decision.image.digest):
                reasons.setdefault(digest, decision.why)
                images.setdefault(digest, set()).add(decision.image.digest)
    for subject in inventory.evidence:
        if (
            subject not in inventory.manifests
            and inventory.registry.resolve_digest(inventory.repository, subject) is None
        ):
            for digest in inventory.evidence_of([subject]):
                reasons.setdefault(digest, f"evidence of {subject}, which is not there")
    for digest in leftovers:
        if not inventory.tags.get(digest):
            reasons.setdefault(digest, "left over from a run that was stopped")
    return [
        Deletion(inventory.name, digest, why, frozenset(images.get(digest, ())))
        for digest, why in reasons.items()
        if digest in inventory.manifests and digest not in kept
    ]


def _foreign_inventories(inventories: Sequence[RepositoryInventory]) -> list[RepositoryInventory]:
    """Return what other workspaces have in Slipway's own registries: bytes that they share do not come free."""
    foreign = []
    for registry in {inventory.registry.host: inventory.registry for inventory in inventories}.values():
        own_repositories = {
            inventory.repository for inventory in inventories if inventory.registry.host == registry.host
        }
        if local.is_started_by_slipway(registry.host):
            names = [name for name in registry.list_repositories() or () if name not in own_repositories]
            foreign += [
                take_inventory(registry, name, "other", local.list_revisions(registry.host, name)) for name in names
            ]
    return foreign


def _with_freed_bytes(inventories: Sequence[RepositoryInventory], deletions: Sequence[Deletion]) -> list[Deletion]:
    """Return the deletions, each with the bytes that nothing has any more after it."""
    deleted: dict[str, set[str]] = {}
    for deletion in deletions:
        deleted.setdefault(deletion.repository, set()).add(deletion.digest)
    blobs_in_use: dict[str, set[str]] = {}
    for inventory in inventories:
        remaining = inventory.manifests.keys() - deleted.get(inventory.name, set())
        blobs_in_use.setdefault(inventory.registry.host, set()).update(inventory.blob_sizes(remaining))
    by_name = {inventory.name: inventory for inventory in inventories}
    weighed = []
    for deletion in deletions:
        inventory = by_name[deletion.repository]
        in_use = blobs_in_use[inventory.registry.host]
        freed_blobs = {
            digest: size for digest, size in inventory.blob_sizes([deletion.digest]).items() if digest not in in_use
        }
        in_use.update(freed_blobs)
        weighed.append(replace(deletion, bytes=sum(freed_blobs.values())))
    return weighed


def _journal_path(workspace: Workspace) -> Path:
    return workspace.scratch / "run" / "prune.json"


def _read_journal(workspace: Workspace) -> dict[str, list[str]]:
    """Return what a run that was stopped had set out to delete: repository → digests."""
    path = _journal_path(workspace)
    if not path_exists(path):
        return {}
    remedy = "Remove it: `invoke prune` works out again what to delete."
    return read_json(path, dict[str, list[str]], what="list of deletions", error=SlipwayError, remedy=remedy)


def _write_journal(workspace: Workspace, deletions: Sequence[Deletion]) -> None:
    journal = _read_journal(workspace)
    for deletion in deletions:
        journal[deletion.repository] = [*dict.fromkeys([*journal.get(deletion.repository, ()), deletion.digest])]
    write_atomically(_journal_path(workspace), json.dumps(journal, indent=1))


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _builder_answers() -> bool:
    """Whether there is a builder that answers, so that its cache can be asked for."""
    registration = builder.read_registered_endpoint(builder.buildx_folder())
    return registration is not None and (registration[0] != "remote" or builder.is_responding(builder.socket_path()))


def _cache_bytes(context: RunContext) -> int:
    if not _builder_answers():
        return 0
    days = context.workspace.settings.retention.days
    argv = commands.list_cache(context.bin / "docker-buildx", builder.BUILDER_NAME)
    result = run(argv, env=context.environment, timeout=CACHE_SECONDS)
    return commands.parse_reclaimable_bytes(result.output.splitlines(), days) if result.code == 0 else 0


def _prune_cache(context: RunContext) -> int:
    days = context.workspace.settings.retention.days
    argv = commands.prune(context.bin / "docker-buildx", builder.BUILDER_NAME, days)
    result = run(argv, env=context.environment, timeout=CACHE_SECONDS)
    if result.code:
        raise SlipwayError(
            "the builder's cache could not be pruned", remedy="Run `invoke setup`.", detail=result.tail()
        )
    return commands.parse_freed_bytes(result.output)
