"""External builds: one bake definition for what changed, OCI results, then a push that the lock remembers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.commands import bake, provenance
from slipway.content import known
from slipway.content.digest import BuildInputs, changes, content_digest, describe_all, digest_of
from slipway.content.known import Image
from slipway.content.mirror import with_normal_modes
from slipway.content.service import inputs_of_each
from slipway.content.stats import Memory
from slipway.flows import baking
from slipway.flows.commits import warn_of_unknown_commit
from slipway.flows.recording import phase
from slipway.flows.report import Report
from slipway.flows.standing import Ground
from slipway.model import lock
from slipway.model.errors import EvidenceError, SlipwayError
from slipway.model.files import write_atomically, write_memory
from slipway.model.names import content_tag
from slipway.model.reading import read_memory
from slipway.model.scratch import remove_with_process
from slipway.model.workspace import Service, Workspace
from slipway.run import git, registry
from slipway.run.oci import join, lend, tidy
from slipway.toolchain.builder import name_of as builder_of

AT_ONCE = 16
"""How many services one bake builds. Bake begins all its targets at the same moment, and one that BuildKit has no time
for within six seconds ends it with "no such job": so it was with a hundred on two cores."""
MANIFESTS = "manifests"
NEW = ".new-"
"""How folders in .slipway/oci are called in which a build is under way."""
JUNIT, TESTS, PROVENANCE = "junit.xml", "tests.json", "provenance.json"
RECORDED = {"BUILDX_METADATA_PROVENANCE": "max"}
"""What makes buildx tell in its metadata how each image was built."""


@dataclass(frozen=True)
class Planned:
    """One service: what decides its image, the digest of that, and where such an image is already.

    `tag` is the image's name in the registry, `pushed` its digest there, `result` the folder that holds or will hold
    its OCI layout.
    """

    service: Service
    inputs: BuildInputs
    content: str
    tag: str
    result: Path
    pushed: str | None
    manifest: Mapping[str, str] = field(repr=False)

    @property
    def built(self) -> bool:
        return (self.result / "index.json").is_file()

    @property
    def needed(self) -> bool:
        """Whether it has to be built: nobody has built the same content before."""
        return not self.pushed and not self.built

    @property
    def folders(self) -> dict[str, str]:
        """The folder of each context, by name; the main one's is empty."""
        return {"": f"services/{self.service.name}", **{lib: f"libs/{lib}" for lib in self.service.settings.libs}}

    def told(self, dry: bool) -> str:
        if self.pushed:
            return f"{self.pushed} is in the registry"
        if self.built:
            return f"{registry.oci_digest(self.result)} is built"
        return "would be built" if dry else "not built"

    def image(self) -> Image | None:
        """Return what to remember: the image that the content has; None while it has none."""
        if self.pushed:
            return Image(self.tag, self.pushed, pushed=True)
        return Image(self.tag, registry.oci_digest(self.result), layout=str(self.result)) if self.built else None


@dataclass(frozen=True)
class Shipped:
    """One service's line after a push or the gate."""

    service: str
    ref: str
    note: str


@phase("plan")
def plan(
    workspace: Workspace,
    services: Sequence[Service],
    memory: Memory | None = None,
    images: Mapping[str, Image] | None = None,
) -> list[Planned]:
    """Think through what has to be built.

    Args:
        workspace: the workspace.
        services: those to think of.
        memory: what need not be read again.
        images: services' images as they are remembered. Those of the same content are not asked for again, and for the
            others the registry's word is enough: for a build, not for a push.

    Raises:
        ConfigError: a Dockerfile, context or base is wrong.
        EvidenceError: the bases are not resolved yet.
        SlipwayError: the registry does not answer.
    """
    inputs = inputs_of_each(workspace, services)
    manifests = describe_all(inputs, memory)
    contents = {name: digest_of(manifest) for name, manifest in manifests.items()}
    tags = {name: f"{workspace.repository(name)}:{content_tag(content)}" for name, content in contents.items()}
    sure = {
        name: image.digest if image.pushed else None
        for name, image in (images or {}).items()
        if image.tag == tags.get(name) and image.there
    }
    ask = registry.digests if images is None else registry.heads
    asked = ask(tag for name, tag in tags.items() if name not in sure)
    pushed = {name: sure[name] if name in sure else asked[tag] for name, tag in tags.items()}
    return [
        Planned(
            service,
            inputs[service.name],
            contents[service.name],
            tags[service.name],
            result_of(workspace, service.name, contents[service.name]),
            pushed[service.name],
            manifests[service.name],
        )
        for service in services
    ]


def build(ground: Ground, planned: Sequence[Planned], report: Report, *, local: bool = False) -> None:
    """Build what nobody has built before, at once, into OCI layouts; `local` builds also what only the registry has.

    Raises:
        SlipwayError: a step failed; its last lines and its log are in the error. Nothing half-built is kept.
    """
    needed = [each for each in planned if each.needed or (local and not each.built)]
    for first in range(0, len(needed), AT_ONCE):
        build_needed(ground, needed[first : first + AT_ONCE], report)
    for each in planned:
        remember_manifest(ground.workspace, each)
    for each in needed:
        report.done(each.service.name, f"built {registry.oci_digest(each.result)[7:19]}")


def build_needed(ground: Ground, needed: Sequence[Planned], report: Report) -> None:
    """Build services in one bake into OCI layouts, each of which is there whole or not at all."""
    with new_layouts(ground.workspace) as folder:
        metadata = folder / "metadata.json"
        for each in needed:
            for target in names_of([each]):
                lend(each.result.parent.glob("*"), folder / target)
        bake_all(ground, needed, report, folder, metadata)
        for each in needed:
            refuse_changed(each)
            keep_image(ground.workspace, each, folder, metadata)
            tidy(each.result)


@contextmanager
def new_layouts(workspace: Workspace) -> Iterator[Path]:
    """Yield a folder beside the OCI layouts for the time of a `with`; of a process that is killed it does not stay."""
    oci = workspace.scratch / "oci"
    oci.mkdir(parents=True, exist_ok=True)
    folder = oci / f"{NEW}{os.urandom(6).hex()}"
    with remove_with_process(workspace.scratch, folder):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def refuse_changed(each: Planned) -> None:
    """Raise SlipwayError when a service's sources are no longer those of its content digest: somebody works on them."""
    if content_digest(each.inputs) != each.content:
        raise SlipwayError(
            f"{each.service.name}: its sources were changed while it was built, so nobody knows what is in the image",
            remedy="Run it again.",
        )


def keep_image(workspace: Workspace, each: Planned, folder: Path, metadata: Path) -> None:
    """Give a new OCI layout its place, and how it was built beside the gate's results; remove those of earlier content.

    `folder` holds what bake made: a layout, or one for each platform, which are joined.

    What the gate found in an earlier image goes, also where that is of the same content: a build that takes what is
    newest on the day gives other bytes on another. Test results stay, which are the sources'.

    Raises:
        GateRefused: BuildKit recorded no provenance.
    """
    name = each.service.name
    parts = bake.by_platform(bake.Target(name, each.inputs))
    told = provenance.predicate(baking.metadata_of(metadata), tuple(parts), provenance.builder_id(os.environ))
    layout = folder / name
    if len(parts) > 1:
        join({part.inputs.platforms[0]: folder / target for target, part in parts.items()}, layout)
    results = results_of(workspace, name, each.content)
    results.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(each.result.parent, ignore_errors=True)
    for file in results.iterdir():
        if file.name not in (JUNIT, TESTS):
            file.unlink()
    each.result.parent.mkdir(parents=True)
    layout.rename(each.result)
    write_atomically(results / PROVENANCE, json.dumps(told, indent=1))


def push(ground: Ground, services: Sequence[Service], stack: str, report: Report, *, dry: bool) -> list[Shipped]:
    """Push what was built by digest, and record every service's digest in the stack's lock.

    Raises:
        EvidenceError: a service's present content was never built.
        SlipwayError: the registry refused, or holds other bytes than were built.
    """
    planned = plan(ground.workspace, services)
    unbuilt = [each.service.name for each in planned if each.needed]
    if unbuilt:
        known.forget(ground.workspace.root)  # or the next `invoke build` would believe that they are there
        raise EvidenceError(
            f"not built yet as the sources are now: {', '.join(unbuilt)}", remedy="Run `invoke build` first."
        )
    before = lock.load(ground.workspace.root, stack)
    checked_out = git.commit(ground.workspace.root)
    warn_of_unknown_commit(ground.workspace, report)
    entries, lines = {}, []
    for each in planned:
        digest = each.pushed or (registry.oci_digest(each.result) if dry else upload(ground, each, report))
        ref = f"{ground.workspace.repository(each.service.name)}@{digest}"
        old = before.services.get(each.service.name)
        entries[each.service.name] = (
            old
            if old and old.ref == ref and old.content == each.content
            else lock.Entry(ref, each.content, checked_out)
        )
        note = "locked already" if old and old.ref == ref else "locked" if not dry else "would be locked"
        lines.append(Shipped(each.service.name, ref, note))
    after = lock.with_entries(before, entries)
    if after != before and not dry:
        lock.save(ground.workspace.root, after)
    return lines


def upload(ground: Ground, each: Planned, report: Report) -> str:
    """Push one OCI layout and return its digest, after asking the registry what it now holds."""
    name = each.service.name
    report.step(name, "pushing")
    digest = registry.push(ground.bin / "crane", each.result, each.tag)
    report.done(name, f"pushed {digest[7:19]}")
    return digest


def bake_all(ground: Ground, planned: Sequence[Planned], report: Report, folder: Path, metadata: Path) -> None:
    """Build all the planned services in one bake, into OCI layouts; `metadata` gets how each was built."""
    cache = ground.workspace.cache(os.environ)
    sources = {each.tag: with_normal_modes(each.inputs, ground.workspace.scratch) for each in planned}

    def made(secrets: Mapping[str, Path], buildx: Path, file: Path) -> tuple[Mapping[str, Any], list[str]]:
        targets = [bake.Target(each.service.name, sources[each.tag], (each.tag,), secrets, cache) for each in planned]
        return bake.definition(targets, "oci", folder), bake.argv(
            buildx, file, builder_of(ground.workspace), targets, metadata=metadata
        )

    baking.carry_out(ground, names_of(planned), report, made, RECORDED)


def names_of(planned: Iterable[Planned]) -> list[str]:
    """Return the names of the bake targets that build services, which are those of their new layouts."""
    return bake.names(bake.Target(each.service.name, each.inputs) for each in planned)


def result_of(workspace: Workspace, service: str, content: str) -> Path:
    return workspace.scratch / "oci" / service / content


def results_of(workspace: Workspace, service: str, content: str) -> Path:
    """Return the folder that holds what the gate found out about a content of a service."""
    return workspace.scratch / "gate" / service / content


def why(workspace: Workspace, planned: Planned) -> list[str]:
    """Return what differs from the service's last build on this machine, in words; nothing where nothing does."""
    before = last_manifest(workspace, planned.service.name)
    if not before:
        return ["there is no earlier `invoke build` on this machine to compare with"]
    return changes(before, planned.manifest, planned.folders)


def last_manifest(workspace: Workspace, service: str) -> dict[str, str]:
    path = workspace.scratch / MANIFESTS / f"{service}.json"
    found: dict[str, str] | None = read_memory(path, dict[str, str])
    return found or {}


def remember_manifest(workspace: Workspace, planned: Planned) -> None:
    if last_manifest(workspace, planned.service.name) != planned.manifest:
        path = workspace.scratch / MANIFESTS / f"{planned.service.name}.json"
        write_memory(path, json.dumps(dict(planned.manifest)))
