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

from slipway._internal.build import bake_runner
from slipway._internal.commands import bake, provenance
from slipway._internal.content import build_state
from slipway._internal.content.build_state import BuiltImage
from slipway._internal.content.digest import (
    BuildInputs,
    content_digest,
    content_manifests,
    describe_changes,
    manifest_digest,
)
from slipway._internal.content.normalized_contexts import normalize_inputs
from slipway._internal.content.service_inputs import build_inputs_by_service
from slipway._internal.content.stat_cache import StatCache
from slipway._internal.context.commits import warn_of_unknown_commit
from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.insight.run_recorder import phase
from slipway._internal.model import lock
from slipway._internal.model.errors import EvidenceError, SlipwayError
from slipway._internal.model.files import write_atomically, write_best_effort
from slipway._internal.model.names import content_tag
from slipway._internal.model.scratch import remove_if_killed
from slipway._internal.model.structured_files import read_json_or_none
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.run import git, registry
from slipway._internal.run.credentials import login_config_of
from slipway._internal.run.oci import hardlink_shared_blobs, merge_platforms, remove_unreferenced_blobs
from slipway._internal.toolchain.builder import builder_of

MAX_BATCH_SIZE = 16
"""How many services one bake builds. Bake begins all its targets at the same moment, and one that BuildKit has no time
for within six seconds ends it with "no such job": so it was with a hundred on two cores."""
MANIFESTS_FOLDER = "manifests"
NEW_PREFIX = ".new-"
"""How folders in .slipway/oci are called in which a build is under way."""
JUNIT_FILE, TESTS_FILE, PROVENANCE_FILE = "junit.xml", "tests.json", "provenance.json"
PROVENANCE_ENVIRONMENT = {"BUILDX_METADATA_PROVENANCE": "max"}
"""What makes buildx tell in its metadata how each image was built."""


@dataclass(frozen=True)
class BuildPlan:
    """One service: what decides its image, the digest of that, and where such an image is already.

    `tag` is the image's name in the registry, `pushed_digest` its digest there, `layout` the folder that holds or will
    hold its OCI layout.
    """

    service: Service
    inputs: BuildInputs
    content: str
    tag: str
    layout: Path
    pushed_digest: str | None
    manifest: Mapping[str, str] = field(repr=False)

    @property
    def is_built(self) -> bool:
        return (self.layout / "index.json").is_file()

    @property
    def is_needed(self) -> bool:
        """Whether it has to be built: nobody has built the same content before."""
        return not self.pushed_digest and not self.is_built

    @property
    def context_folders(self) -> dict[str, str]:
        """The folder of each context, by name; the main one's is empty."""
        return {"": f"services/{self.service.name}", **{lib: f"libs/{lib}" for lib in self.service.settings.libs}}

    def summary(self, dry: bool) -> str:
        if self.pushed_digest:
            return f"{self.pushed_digest} is in the registry"
        if self.is_built:
            return f"{registry.oci_digest(self.layout)} is built"
        return "would be built" if dry else "not built"

    def image(self) -> BuiltImage | None:
        """Return what to remember: the image that the content has; None while it has none."""
        if self.pushed_digest:
            return BuiltImage(self.tag, self.pushed_digest, pushed=True)
        return (
            BuiltImage(self.tag, registry.oci_digest(self.layout), layout=str(self.layout)) if self.is_built else None
        )


@dataclass(frozen=True)
class ShippedImage:
    """One service's line after a push or the gate."""

    service: str
    ref: str
    note: str


@phase("plan")
def plan_builds(
    workspace: Workspace,
    services: Sequence[Service],
    stat_cache: StatCache | None = None,
    images: Mapping[str, BuiltImage] | None = None,
) -> list[BuildPlan]:
    """Think through what has to be built.

    Args:
        workspace: the workspace.
        services: those to think of; those whose image is not built here are left out.
        stat_cache: what need not be read again.
        images: services' images as they are remembered. Those of the same content are not asked for again, and for the
            others the registry's word is enough: for a build, not for a push.

    Raises:
        ConfigError: a Dockerfile, context or base is wrong.
        EvidenceError: the bases are not resolved yet.
        SlipwayError: the registry does not answer.
    """
    inputs = build_inputs_by_service(workspace, services, stat_cache)
    manifests = content_manifests(inputs, stat_cache)
    contents = {name: manifest_digest(manifest) for name, manifest in manifests.items()}
    tags = {name: f"{workspace.repository(name)}:{content_tag(content)}" for name, content in contents.items()}
    known_digests = {
        name: image.digest if image.pushed else None
        for name, image in (images or {}).items()
        if image.tag == tags.get(name) and image.available
    }
    look_up = registry.resolve_digests if images is None else registry.fetch_reported_digests
    looked_up = look_up((tag for name, tag in tags.items() if name not in known_digests), workspace)
    pushed_digests = {
        name: known_digests[name] if name in known_digests else looked_up[tag] for name, tag in tags.items()
    }
    return [
        BuildPlan(
            service,
            inputs[service.name],
            contents[service.name],
            tags[service.name],
            layout_folder(workspace, service.name, contents[service.name]),
            pushed_digests[service.name],
            manifests[service.name],
        )
        for service in services
        if service.is_built
    ]


def build_missing(context: RunContext, plans: Sequence[BuildPlan], reporter: Reporter, *, local: bool = False) -> None:
    """Build what nobody has built before, at once, into OCI layouts; `local` builds also what only the registry has.

    Raises:
        SlipwayError: a step failed; its last lines and its log are in the error. Nothing half-built is kept.
    """
    pending = [plan for plan in plans if plan.is_needed or (local and not plan.is_built)]
    for first in range(0, len(pending), MAX_BATCH_SIZE):
        build_batch(context, pending[first : first + MAX_BATCH_SIZE], reporter)
    for plan in plans:
        save_manifest(context.workspace, plan)
    for plan in pending:
        reporter.done(plan.service.name, f"built {registry.oci_digest(plan.layout)[7:19]}")


def build_batch(context: RunContext, plans: Sequence[BuildPlan], reporter: Reporter) -> None:
    """Build services in one bake into OCI layouts, each of which is there whole or not at all."""
    with new_layouts_folder(context.workspace) as folder:
        metadata = folder / "metadata.json"
        for plan in plans:
            for target in target_names([plan]):
                hardlink_shared_blobs(plan.layout.parent.glob("*"), folder / target)
        bake_services(context, plans, reporter, folder, metadata)
        for plan in plans:
            refuse_changed_sources(plan)
            store_image(context.workspace, plan, folder, metadata)
            remove_unreferenced_blobs(plan.layout)


@contextmanager
def new_layouts_folder(workspace: Workspace) -> Iterator[Path]:
    """Yield a folder beside the OCI layouts for the time of a `with`; of a process that is killed it does not stay."""
    oci = workspace.scratch / "oci"
    oci.mkdir(parents=True, exist_ok=True)
    folder = oci / f"{NEW_PREFIX}{os.urandom(6).hex()}"
    with remove_if_killed(workspace.scratch, folder):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def refuse_changed_sources(plan: BuildPlan) -> None:
    """Raise SlipwayError when a service's sources are no longer those of its content digest: somebody works on them."""
    if content_digest(plan.inputs.as_on_disk()) != plan.content:
        raise SlipwayError(
            f"{plan.service.name}: its sources changed during the build, so the image may hold a mix of both",
            remedy="Run it again.",
        )


def store_image(workspace: Workspace, plan: BuildPlan, folder: Path, metadata: Path) -> None:
    """Give a new OCI layout its place, and how it was built beside the gate's results; remove those of earlier content.

    `folder` holds what bake made: a layout, or one for each platform, which are joined.

    What the gate found in an earlier image goes, also where that is of the same content: a build that takes what is
    newest on the day gives other bytes on another. Test results stay, which are the sources'.

    Raises:
        GateRefused: BuildKit recorded no provenance.
    """
    name = plan.service.name
    parts = bake.split_by_platform(bake.BakeTarget(name, plan.inputs))
    predicate = provenance.make_predicate(
        bake_runner.read_metadata(metadata), tuple(parts), provenance.builder_id(os.environ)
    )
    layout = folder / name
    if len(parts) > 1:
        merge_platforms({part.inputs.platforms[0]: folder / target for target, part in parts.items()}, layout)
    results = gate_results_folder(workspace, name, plan.content)
    results.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(plan.layout.parent, ignore_errors=True)
    for file in results.iterdir():
        if file.name not in (JUNIT_FILE, TESTS_FILE):
            file.unlink()
    plan.layout.parent.mkdir(parents=True)
    layout.rename(plan.layout)
    write_atomically(results / PROVENANCE_FILE, json.dumps(predicate, indent=1))


def push_images(
    context: RunContext, services: Sequence[Service], stack: str, reporter: Reporter, *, dry: bool
) -> list[ShippedImage]:
    """Push what was built by digest, and record every service's digest in the stack's lock.

    Raises:
        EvidenceError: a service's present content was never built.
        SlipwayError: the registry refused, or holds other bytes than were built.
    """
    plans = plan_builds(context.workspace, services)
    unbuilt = [plan.service.name for plan in plans if plan.is_needed]
    if unbuilt:
        # Or the next `invoke build` would believe that they are there.
        build_state.forget_images(context.workspace.root)
        raise EvidenceError(
            f"not built yet from the present sources: {', '.join(unbuilt)}", remedy="Run `invoke build` first."
        )
    old_lock = lock.load(context.workspace.root, stack)
    commit = git.head_commit(context.workspace.root)
    warn_of_unknown_commit(context.workspace, reporter)
    images = {service.name: (ref, ref.rpartition(":")[2]) for service in services if (ref := service.settings.image)}
    for plan in plans:
        digest = plan.pushed_digest or (
            registry.oci_digest(plan.layout) if dry else upload_image(context, plan, reporter)
        )
        images[plan.service.name] = f"{context.workspace.repository(plan.service.name)}@{digest}", plan.content
    entries, lines = {}, []
    for name, (ref, content) in sorted(images.items()):
        old_entry = old_lock.services.get(name)
        is_locked = old_entry is not None and (old_entry.ref, old_entry.content) == (ref, content)
        entries[name] = old_entry if old_entry and is_locked else lock.LockEntry(ref, content, commit)
        note = "locked already" if old_entry and old_entry.ref == ref else "locked" if not dry else "would be locked"
        lines.append(ShippedImage(name, ref, note))
    new_lock = lock.with_entries(old_lock, entries)
    if new_lock != old_lock and not dry:
        lock.save(context.workspace.root, new_lock)
    return lines


def upload_image(context: RunContext, plan: BuildPlan, reporter: Reporter) -> str:
    """Push one OCI layout and return its digest, after asking the registry what it now holds."""
    name = plan.service.name
    reporter.step(name, "pushing")
    digest = registry.push_layout(
        context.bin / "crane", plan.layout, plan.tag, config=login_config_of(context.workspace, "push")
    )
    reporter.done(name, f"pushed {digest[7:19]}")
    return digest


def bake_services(
    context: RunContext, plans: Sequence[BuildPlan], reporter: Reporter, folder: Path, metadata: Path
) -> None:
    """Build all the planned services in one bake, into OCI layouts; `metadata` gets how each was built."""
    cache = context.workspace.cache(os.environ)
    sources = {plan.tag: normalize_inputs(plan.inputs, context.workspace.scratch) for plan in plans}

    def create_bake(secrets: Mapping[str, Path], buildx: Path, file: Path) -> tuple[Mapping[str, Any], list[str]]:
        targets = [bake.BakeTarget(plan.service.name, sources[plan.tag], (plan.tag,), secrets, cache) for plan in plans]
        return bake.make_definition(targets, "oci", folder), bake.argv(
            buildx, file, builder_of(context.workspace), targets, metadata=metadata
        )

    bake_runner.run_bake(context, target_names(plans), reporter, create_bake, PROVENANCE_ENVIRONMENT)


def target_names(plans: Iterable[BuildPlan]) -> list[str]:
    """Return the names of the bake targets that build services, which are those of their new layouts."""
    return bake.target_names(bake.BakeTarget(plan.service.name, plan.inputs) for plan in plans)


def layout_folder(workspace: Workspace, service: str, content: str) -> Path:
    return workspace.scratch / "oci" / service / content


def gate_results_folder(workspace: Workspace, service: str, content: str) -> Path:
    """Return the folder that holds what the gate found out about a content of a service."""
    return workspace.scratch / "gate" / service / content


def explain_changes(workspace: Workspace, plan: BuildPlan) -> list[str]:
    """Return what differs from the service's last build on this machine, in words; nothing where nothing does."""
    manifest = read_manifest(workspace, plan.service.name)
    if not manifest:
        return ["there is no earlier `invoke build` on this machine to compare with"]
    return describe_changes(manifest, plan.manifest, plan.context_folders)


def read_manifest(workspace: Workspace, service: str) -> dict[str, str]:
    path = workspace.scratch / MANIFESTS_FOLDER / f"{service}.json"
    manifest: dict[str, str] | None = read_json_or_none(path, dict[str, str])
    return manifest or {}


def save_manifest(workspace: Workspace, plan: BuildPlan) -> None:
    if read_manifest(workspace, plan.service.name) != plan.manifest:
        path = workspace.scratch / MANIFESTS_FOLDER / f"{plan.service.name}.json"
        write_best_effort(path, json.dumps(dict(plan.manifest)))
