"""Retention: what goes from the registries, from this workspace's scratch and from the builder's cache, and what stays.

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

from slipway.commands import cache as commands
from slipway.commands.bake import CACHE_SUFFIX
from slipway.content import known
from slipway.content.digest import content_digests
from slipway.content.mirror import FOLDER as COPIES
from slipway.content.mirror import copy_of
from slipway.content.service import inputs_of_each
from slipway.flows.report import Report
from slipway.flows.retention import Kind, Verdict, decide
from slipway.flows.standing import Ground
from slipway.flows.stock import Stock, take
from slipway.model import bases, lock
from slipway.model import stack as stacks
from slipway.model.errors import SlipwayError
from slipway.model.files import write_atomically
from slipway.model.names import content_tag
from slipway.model.reading import exists, read_json
from slipway.model.workspace import Workspace
from slipway.run.credentials import config_of
from slipway.run.process import run
from slipway.run.registry import Registry, parse
from slipway.toolchain import builder
from slipway.toolchain import registry as local

BASE, RELEASE = "base-", "release/"
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
class Plan:
    """What goes, in the order in which it goes, and what stays.

    `verdicts` are by repository; `folder_bytes` come free in `.slipway`, about `cache_bytes` in the builder's cache.
    """

    verdicts: tuple[tuple[str, Verdict], ...]
    deletions: tuple[Deletion, ...]
    folders: tuple[Path, ...]
    folder_bytes: int
    cache_bytes: int
    collect: tuple[str, ...]
    """Slipway's own registries in which garbage is to be collected."""

    @property
    def bytes(self) -> int:
        """What comes free in the registries; in one that is not Slipway's own, once it collects its garbage."""
        return sum(each.bytes for each in self.deletions)

    @property
    def empty(self) -> bool:
        return not (self.deletions or self.folders or self.cache_bytes or self.collect)

    def rows(self) -> list[tuple[str, str, str]]:
        """Return a line for each image, folder or cache that goes: what it is, why it goes, how much comes free."""
        tags = {(name, each.image.digest): each.image.tags for name, each in self.verdicts}
        sizes: dict[tuple[str, str], int] = {}
        for each in self.deletions:
            image = min(each.images, default="")
            label = ":".join(tags.get((each.repository, image), ())[:1]) or image[7:19] or "evidence"
            key = (f"{each.repository} {label}", each.why)
            sizes[key] = sizes.get(key, 0) + each.bytes
        found = [(what, why, human(size)) for (what, why), size in sizes.items()]
        found += [(str(each), "not of the present sources", human(_size(each))) for each in self.folders]
        if self.cache_bytes:
            found.append(("the builder's cache", "not used for a long time", f"about {human(self.cache_bytes)}"))
        if self.collect and not self.deletions:
            found.append((", ".join(self.collect), "an earlier run was stopped before it collected garbage", ""))
        return found

    def told(self) -> str:
        """Return the whole in a sentence."""
        images = {(each.repository, image) for each in self.deletions for image in each.images}
        total = human(self.bytes + self.folder_bytes + self.cache_bytes)
        about = "about " if self.cache_bytes else ""
        return f"{len(images)} images and {len(self.folders)} results would go; {about}{total} come free."


@dataclass(frozen=True)
class Freed:
    """How many bytes came free: in Slipway's own registries, in `.slipway`, in the builder's cache."""

    registries: int
    folders: int
    cache: int


def plan(ground: Ground, needed: Mapping[str, str], now: datetime, *, current: Mapping[str, str] | None = None) -> Plan:
    """Return what may go; nothing is changed.

    Args:
        ground: the workspace and its tools.
        needed: digest → why it is needed: of every release of every stack. Locks and bases are added here.
        now: the time to reckon from.
        current: service → content digest of what the sources are now; else it is computed.

    Raises:
        EvidenceError: a lock is damaged, so nobody knows what it names.
        SlipwayError: a registry does not answer, or refuses.
    """
    workspace = ground.workspace
    contents = current_contents(workspace) if current is None else current
    everything = {**named_in_files(workspace), **needed}
    journal = _read_journal(workspace)
    stocks = _stocks(workspace, everything, journal)
    wanted = _with_parts(stocks, everything)
    verdicts: list[tuple[str, Verdict]] = []
    deletions: list[Deletion] = []
    for stock in stocks:
        decided = decide(
            stock.images(),
            stock.kind,
            needed=everything,
            current={content_tag(content) for content in contents.values()},
            retention=workspace.settings.retention,
            now=now,
        )
        verdicts += [(stock.name, verdict) for verdict in decided]
        deletions += _deletions(stock, decided, wanted, journal.get(stock.name, ()))
    own = {parse(name).host: name for name in (stock.name for stock in stocks) if local.ours(parse(name).host)}
    touched = {parse(each.repository).host for each in deletions} | {parse(name).host for name in journal}
    folders = old_folders(workspace, contents)
    return Plan(
        tuple(verdicts),
        tuple(_weighed([*stocks, *_neighbours(stocks)], deletions)),
        tuple(folders),
        sum(_size(folder) for folder in folders),
        _cache_bytes(ground),
        tuple(sorted(host for host in own if host in touched)),
    )


def carry_out(ground: Ground, planned: Plan, report: Report, needed: Mapping[str, str] | None = None) -> Freed:
    """Delete what was planned and return what came free; killed in the middle, the next run takes the rest.

    Args:
        ground: the workspace and its tools.
        planned: from `plan`.
        report: told each step.
        needed: asked anew, where time has passed since: an image in it stays, with all that is its.

    Raises:
        SlipwayError: a registry refuses, or does not answer.
    """
    workspace = ground.workspace
    known.forget(workspace.root)
    names = set(needed or {})
    going = [each for each in planned.deletions if not names & {each.digest, *each.images}]
    if going:
        _write_journal(workspace, going)
    registries: dict[str, Registry] = {}
    for each in going:
        part = parse(each.repository)
        report.step(part.repository, "deleting", each.digest[7:19])
        if part.host not in registries:
            registries[part.host] = Registry(part.host, config_of(workspace, "push"))
        registries[part.host].delete(part.repository, each.digest)
    for name in dict.fromkeys(each.repository for each in going):
        count = sum(each.repository == name for each in going)
        report.done(parse(name).repository, f"{count} manifests deleted")
    for folder in planned.folders:
        shutil.rmtree(folder, ignore_errors=True)
    collected = sum(local.collect_garbage(host, on_line=report.say) for host in planned.collect)
    _journal(workspace).unlink(missing_ok=True)
    freed = Freed(collected, planned.folder_bytes, _prune_cache(ground) if planned.cache_bytes else 0)
    report.say(
        f"Came free: {human(freed.registries)} in the registry on this machine, {human(freed.folders)} in .slipway, "
        f"{human(freed.cache)} in the builder's cache."
    )
    return freed


def human(size: int) -> str:
    """Return a number of bytes as people write it."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size} {unit}"
        size = round(size / 1000)
    return f"{size} GB"


def named_in_files(workspace: Workspace) -> dict[str, str]:
    """Return every digest that a lock or the bases' lock names, and which of them does.

    Raises:
        EvidenceError: one of them is damaged.
    """
    found: dict[str, str] = {}
    if bases.path_of(workspace.root).is_file():
        for name, ref in bases.load(workspace.root).bases.items():
            found[ref.rpartition("@")[2]] = f"the base {name}"
    for path in sorted((workspace.root / "deploy").glob("*.lock.json")):
        stack = path.name.removesuffix(".lock.json")
        for entry in lock.all_entries(lock.load(workspace.root, stack)).values():
            for digest in (entry.ref.rpartition("@")[2], *entry.evidence.values()):
                found[digest] = f"{path.relative_to(workspace.root)} names it"
    return found


def current_contents(workspace: Workspace) -> dict[str, str]:
    """Return each service's content digest as its sources are now.

    Raises:
        EvidenceError: the bases are not resolved, so nobody can say.
    """
    return content_digests(inputs_of_each(workspace, workspace.services))


def old_folders(workspace: Workspace, contents: Mapping[str, str]) -> list[Path]:
    """Return the folders of results, and of copied contexts, that are not of what the sources are now."""
    found = [
        path
        for kind in ("oci", "gate")
        for path in sorted((workspace.scratch / kind).glob("*/*/"))
        if not path.parent.name.startswith(".") and contents.get(path.parent.name) != path.name
    ]
    roots = [workspace.root / "bases", *(each.folder for each in workspace.services)]
    roots += sorted((workspace.root / "libs").glob("*/"))
    kept = {copy_of(root, workspace.scratch).parent for root in roots}
    found += [path for path in sorted((workspace.scratch / COPIES).glob("*/")) if path not in kept]
    return [path for path in found if not path.is_symlink()]


def repositories(workspace: Workspace, registry: str, known: Sequence[str] | None) -> dict[str, Kind]:
    """Return the repositories that this workspace has in a registry, and what each is for.

    Args:
        workspace: the workspace.
        registry: `host[:port][/path]`.
        known: all repositories of its host; None where it does not tell them, which leaves those of the services.
    """
    prefix = f"{parse(f'{registry}/{workspace.name}/x').repository.removesuffix('x')}"
    if known is None:
        names = [name for each in workspace.services for name in (each.name, f"{RELEASE}{each.name}")]
        names += [f"{RELEASE}{name}" for name in lock.BESIDE]
    else:
        names = [name.removeprefix(prefix) for name in known if name.startswith(prefix)]
    kinds: dict[str, Kind] = {}
    for name in names:
        if name.startswith(RELEASE) and name.count("/") == 1:
            kinds[prefix + name] = "release"
        elif "/" not in name:
            kinds[prefix + name] = "other" if name.startswith(BASE) or name.endswith(CACHE_SUFFIX) else "development"
    return kinds


def _stocks(workspace: Workspace, needed: Mapping[str, str], journal: Mapping[str, Sequence[str]]) -> list[Stock]:
    """Return what all repositories of this workspace hold, needed images without a tag among it."""
    declared = [stacks.load(workspace.root, name, {}).registry for name in stacks.names(workspace.root)]
    config = config_of(workspace, "pull")
    stocks: dict[str, Stock] = {}
    for address in dict.fromkeys((workspace.registry, *filter(None, declared))):
        registry = Registry(parse(f"{address}/x").host, config)
        own = local.ours(registry.host)
        for name, kind in repositories(workspace, address, registry.catalog()).items():
            came = local.revisions(registry.host, name) if own else {}
            full = f"{registry.host}/{name}"
            stocks.setdefault(full, take(registry, name, kind, came, journal.get(full, ())))
    found = {digest for stock in stocks.values() for digest in stock.manifests}
    lost = [digest for digest in needed if digest not in found and digest.startswith("sha256:")]
    if not lost:
        return list(stocks.values())
    return [
        take(each.registry, each.repository, each.kind, each.came, (*journal.get(each.name, ()), *lost))
        for each in stocks.values()
    ]


def _with_parts(stocks: Sequence[Stock], needed: Mapping[str, str]) -> dict[str, str]:
    """Return the needed digests with all their parts and evidence, in whichever repository."""
    found = dict(needed)
    for stock in stocks:
        for digest, why in needed.items():
            if digest in stock.manifests:
                found |= {each: found.get(each, why) for each in stock.whole(digest)}
    return found


def _deletions(
    stock: Stock, verdicts: Sequence[Verdict], needed: Mapping[str, str], leftovers: Sequence[str]
) -> list[Deletion]:
    """Return what goes from a repository: images with what is only theirs, and evidence of what is not there."""
    stay = set(needed) & stock.manifests.keys()
    for verdict in verdicts:
        if verdict.stays:
            stay |= {verdict.image.digest, *stock.whole(verdict.image.digest)}
    going: dict[str, str] = {}
    images: dict[str, set[str]] = {}
    for verdict in verdicts:
        if not verdict.stays:
            for digest in stock.whole(verdict.image.digest):
                going.setdefault(digest, verdict.why)
                images.setdefault(digest, set()).add(verdict.image.digest)
    for subject in stock.evidence:
        if subject not in stock.manifests and stock.registry.digest(stock.repository, subject) is None:
            for digest in stock.proofs([subject]):
                going.setdefault(digest, f"evidence of {subject}, which is not there")
    for digest in leftovers:
        if not stock.tags.get(digest):
            going.setdefault(digest, "left over from a run that was stopped")
    return [
        Deletion(stock.name, digest, why, frozenset(images.get(digest, ())))
        for digest, why in going.items()
        if digest in stock.manifests and digest not in stay
    ]


def _neighbours(stocks: Sequence[Stock]) -> list[Stock]:
    """Return what other workspaces have in Slipway's own registries: bytes that they share do not come free."""
    found = []
    for registry in {each.registry.host: each.registry for each in stocks}.values():
        known = {each.repository for each in stocks if each.registry.host == registry.host}
        if local.ours(registry.host):
            names = [name for name in registry.catalog() or () if name not in known]
            found += [take(registry, name, "other", local.revisions(registry.host, name)) for name in names]
    return found


def _weighed(stocks: Sequence[Stock], deletions: Sequence[Deletion]) -> list[Deletion]:
    """Return the deletions, each with the bytes that nothing has any more after it."""
    gone: dict[str, set[str]] = {}
    for each in deletions:
        gone.setdefault(each.repository, set()).add(each.digest)
    counted: dict[str, set[str]] = {}
    for stock in stocks:
        stays = stock.manifests.keys() - gone.get(stock.name, set())
        counted.setdefault(stock.registry.host, set()).update(stock.blobs(stays))
    by_name = {stock.name: stock for stock in stocks}
    found = []
    for each in deletions:
        stock = by_name[each.repository]
        known = counted[stock.registry.host]
        free = {digest: size for digest, size in stock.blobs([each.digest]).items() if digest not in known}
        known.update(free)
        found.append(replace(each, bytes=sum(free.values())))
    return found


def _journal(workspace: Workspace) -> Path:
    return workspace.scratch / "run" / "prune.json"


def _read_journal(workspace: Workspace) -> dict[str, list[str]]:
    """Return what a run that was stopped had set out to delete: repository → digests."""
    path = _journal(workspace)
    if not exists(path):
        return {}
    remedy = "Remove it: `invoke prune` finds anew what may go."
    return read_json(path, dict[str, list[str]], what="list of deletions", error=SlipwayError, remedy=remedy)


def _write_journal(workspace: Workspace, going: Sequence[Deletion]) -> None:
    found = _read_journal(workspace)
    for each in going:
        found[each.repository] = [*dict.fromkeys([*found.get(each.repository, ()), each.digest])]
    write_atomically(_journal(workspace), json.dumps(found, indent=1))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _builder_answers() -> bool:
    """Whether there is a builder that answers, so that its cache can be asked for."""
    known = builder.registered(builder.buildx_config())
    return known is not None and (known[0] != "remote" or builder.answers(builder.socket_path()))


def _cache_bytes(ground: Ground) -> int:
    if not _builder_answers():
        return 0
    days = ground.workspace.settings.retention.days
    argv = commands.listing(ground.bin / "docker-buildx", builder.NAME)
    result = run(argv, env=ground.environment, timeout=CACHE_SECONDS)
    return commands.reclaimable(result.output.splitlines(), days) if result.code == 0 else 0


def _prune_cache(ground: Ground) -> int:
    days = ground.workspace.settings.retention.days
    argv = commands.prune(ground.bin / "docker-buildx", builder.NAME, days)
    result = run(argv, env=ground.environment, timeout=CACHE_SECONDS)
    if result.code:
        raise SlipwayError(
            "the builder's cache could not be pruned", remedy="Run `invoke setup`.", detail=result.tail()
        )
    return commands.freed(result.output)
