"""External builds: one bake definition for what changed, OCI results, then a push that the lock remembers."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from slipway.commands import bake
from slipway.content.digest import BuildInputs, changes, describe_all, digest_of
from slipway.content.service import inputs_of
from slipway.flows.ground import Ground
from slipway.flows.progress import Follower
from slipway.flows.report import Report
from slipway.model import bases, lock
from slipway.model.errors import EvidenceError, SlipwayError
from slipway.model.files import write_atomically
from slipway.model.workspace import Service, Workspace, secret_value
from slipway.run import registry
from slipway.run.process import run
from slipway.toolchain.builder import NAME as BUILDER

MANIFESTS = "manifests"


@dataclass(frozen=True)
class Planned:
    """One service: what decides its image, the digest of that, and where such an image is already.

    `pushed` is the image's digest in the registry, `result` the folder that holds or will hold its OCI layout,
    `why` the differences from the last build on this machine.
    """

    service: Service
    inputs: BuildInputs
    content: str
    result: Path
    pushed: str | None
    manifest: Mapping[str, str] = field(repr=False)
    why: tuple[str, ...] = ()

    @property
    def built(self) -> bool:
        return (self.result / "index.json").is_file()

    @property
    def needed(self) -> bool:
        """Whether it has to be built: nobody has built the same content before."""
        return not self.pushed and not self.built

    def told(self, dry: bool) -> str:
        if self.pushed:
            return f"{self.pushed} is in the registry"
        if self.built:
            return f"{registry.oci_digest(self.result)} is built"
        return "would be built" if dry else "not built"


@dataclass(frozen=True)
class Pushed:
    """One service's line after a push."""

    service: str
    ref: str
    note: str


def plan(ground: Ground, services: Sequence[Service]) -> list[Planned]:
    """Think through what has to be built.

    Raises:
        ConfigError: a Dockerfile, context or base is wrong.
        SlipwayError: the registry does not answer.
    """
    workspace = ground.workspace
    based = bases.load(workspace.root).bases
    inputs = {service.name: inputs_of(workspace, service, based) for service in services}
    manifests = describe_all(inputs)
    contents = {name: digest_of(manifest) for name, manifest in manifests.items()}
    pushed = registry.digests([f"{workspace.repository(name)}:{tag(content)}" for name, content in contents.items()])
    return [
        Planned(
            service,
            inputs[service.name],
            contents[service.name],
            result_of(workspace, service.name, contents[service.name]),
            pushed[f"{workspace.repository(service.name)}:{tag(contents[service.name])}"],
            manifests[service.name],
            tuple(changes(last_manifest(workspace, service.name), manifests[service.name])),
        )
        for service in services
    ]


def build(ground: Ground, planned: Sequence[Planned], report: Report) -> None:
    """Build what nobody has built before, at once, into OCI layouts.

    Raises:
        SlipwayError: a step failed; its last lines and its log are in the error. Nothing half-built is kept.
    """
    for each in planned:
        if not each.needed:
            report.done(each.service.name, "in the registry" if each.pushed else "built already")
    needed = [each for each in planned if each.needed]
    if not needed:
        return
    oci = ground.workspace.scratch / "oci"
    oci.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=oci) as folder:
        carry_out(ground, needed, report, output="oci", oci_dir=Path(folder))
        for each in needed:
            shutil.rmtree(each.result.parent, ignore_errors=True)
            each.result.parent.mkdir(parents=True)
            (Path(folder) / each.service.name).rename(each.result)
    for each in needed:
        remember_manifest(ground.workspace, each.service.name, each.manifest)
        report.done(each.service.name, f"built {registry.oci_digest(each.result)[7:19]}")


def test(ground: Ground, planned: Sequence[Planned], report: Report) -> None:
    """Build every service's `test` stage, which runs its tests in the environment that its image is built in.

    Raises:
        SlipwayError: a test failed; its last lines and its log are in the error.
    """
    carry_out(ground, planned, report, output="none", oci_dir=ground.workspace.scratch / "oci", stage="test")
    for each in planned:
        report.done(each.service.name, "tests passed")


def push(ground: Ground, services: Sequence[Service], stack: str, report: Report, *, dry: bool) -> list[Pushed]:
    """Push what was built by digest, and record every service's digest in the stack's lock.

    Raises:
        EvidenceError: a service's present content was never built.
        SlipwayError: the registry refused, or holds other bytes than were built.
    """
    planned = plan(ground, services)
    unbuilt = [each.service.name for each in planned if each.needed]
    if unbuilt:
        raise EvidenceError(
            f"not built yet as the sources are now: {', '.join(unbuilt)}", remedy="Run `invoke build` first."
        )
    before = lock.load(ground.workspace.root, stack)
    entries, lines = {}, []
    for each in planned:
        digest = each.pushed or (registry.oci_digest(each.result) if dry else upload(ground, each, report))
        ref = f"{ground.workspace.repository(each.service.name)}@{digest}"
        old = before.services.get(each.service.name)
        entries[each.service.name] = (
            old
            if old and old.ref == ref and old.content == each.content
            else lock.Entry(ref, each.content, commit(ground.workspace))
        )
        note = "locked already" if old and old.ref == ref else "locked" if not dry else "would be locked"
        lines.append(Pushed(each.service.name, ref, note))
    after = lock.with_entries(before, entries)
    if after != before and not dry:
        lock.save(ground.workspace.root, after)
    return lines


def upload(ground: Ground, each: Planned, report: Report) -> str:
    """Push one OCI layout and return its digest, after asking the registry what it now holds."""
    name = each.service.name
    report.step(name, "pushing")
    ref = f"{ground.workspace.repository(name)}:{tag(each.content)}"
    digest = registry.push(ground.bin / "crane", each.result, ref)
    report.done(name, f"pushed {digest[7:19]}")
    return digest


def carry_out(
    ground: Ground,
    planned: Sequence[Planned],
    report: Report,
    *,
    output: str,
    oci_dir: Path,
    stage: str | None = None,
) -> None:
    """Run one bake of all the planned services, with a log for each and the failing step's lines in the error."""
    workspace = ground.workspace
    follower = Follower(report, workspace.scratch / "logs", [each.service.name for each in planned])
    with secret_files(workspace) as secrets:
        targets = [
            bake.Target(
                each.service.name,
                each.inputs,
                (f"{workspace.repository(each.service.name)}:{tag(each.content)}",),
                secrets,
            )
            for each in planned
        ]
        definition = bake.definition(targets, output=output, oci_dir=oci_dir, stage=stage)
        file = workspace.scratch / "run" / f"bake-{os.getpid()}.json"
        write_atomically(file, json.dumps(definition, indent=2))
        try:
            result = run(
                bake.argv(ground.bin / "docker-buildx", file, BUILDER, targets),
                cwd=workspace.root,
                env=ground.environment,
                on_line=follower,
            )
        finally:
            file.unlink(missing_ok=True)
            follower.close()
    if result.code:
        raise follower.failure(result)


@contextmanager
def secret_files(workspace: Workspace) -> Iterator[dict[str, Path]]:
    """Yield the build secrets as files that only this user can read, and that go when the build has ended."""
    above = workspace.scratch / "run" / "secrets"
    for left in above.glob("*"):
        if not Path(f"/proc/{left.name}").exists():  # of a build that was killed
            shutil.rmtree(left, ignore_errors=True)
    folder = above / str(os.getpid())
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    try:
        files = {}
        for name, source in workspace.build_secrets(os.environ).items():
            files[name] = folder / name
            write_atomically(files[name], secret_value(source, os.environ), mode=0o600)
        yield files
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tag(content: str) -> str:
    """Return the tag of the image that a content digest decides."""
    return f"h-{content}"


def result_of(workspace: Workspace, service: str, content: str) -> Path:
    return workspace.scratch / "oci" / service / content


def last_manifest(workspace: Workspace, service: str) -> dict[str, str]:
    path = workspace.scratch / MANIFESTS / f"{service}.json"
    try:
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return found


def remember_manifest(workspace: Workspace, service: str, manifest: Mapping[str, str]) -> None:
    write_atomically(workspace.scratch / MANIFESTS / f"{service}.json", json.dumps(dict(manifest)))


def commit(workspace: Workspace) -> str | None:
    """Return the git commit that is checked out, or None outside a repository."""
    try:
        result = run(["git", "rev-parse", "HEAD"], cwd=workspace.root, timeout=10)
    except SlipwayError:
        return None
    return result.output.strip() if result.code == 0 else None
