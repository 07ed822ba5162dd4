"""Builds one bake definition for many services, and the command line that runs it.

Inline and external builds give the same image, to the byte: they share `SOURCE_DATE_EPOCH`, which is the
time of the image and of all that a build writes, the media types, and they are without attestations, whose
content differs from build to build (the gate makes and signs its own).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from slipway._internal.content.digest import BuildInputs
from slipway._internal.content.frontend import FRONTEND_ARGUMENT
from slipway._internal.model.names import LOOPBACK
from slipway._internal.model.parsing import JsonObject
from slipway._internal.model.workspace import CacheMode

# 1980-01-01, for two reasons. BuildKit takes every file's time that is later down to it and leaves earlier
# ones, so an early time makes files of any checkout equal. And it is the first that zip files, and so
# wheels, can hold: with 0, building a wheel within a Dockerfile fails. A commit's time would make the same
# content another image each time.
SOURCE_DATE_EPOCH = "315532800"

# Rewriting compresses every layer of the service's own again at each export; the quickest level halves the time that
# a saved line takes, and costs a tenth of the size.
EXPORT_FORMAT = "rewrite-timestamp=true,oci-mediatypes=true,compression=gzip,compression-level=1"
IMAGE_EXPORT = f"type=image,{EXPORT_FORMAT}"
"""How an image is exported to a registry; what pushes it adds `push=true`."""

# Half of the time until a saved line is served: layers stay as they were made, so only the new one is compressed and
# pushed. Their bytes hold times, so this is never what is released; without a tag, nothing else will find it.
DEV_EXPORT = "type=image,oci-mediatypes=true,compression=gzip,compression-level=1,push=true,push-by-digest=true"
"""How an image is exported while somebody works on it."""

CACHE_SUFFIX = "_cache"
"""How the repository of a service's layers is called behind its own name: no service's name holds an underscore."""

TEST_SUFFIX, REPORT_SUFFIX, PLATFORM_SEPARATOR = "_test", "_report", "_for-"  # no service's name holds an underscore
JUNIT_GLOB = "/tmp/junit*.xml"  # noqa: S108 - in the stage
NO_ATTESTATIONS = ("type=provenance,disabled=true", "type=sbom,disabled=true")

BakeOutput = Literal["oci", "registry", "dev", "none"]


@dataclass(frozen=True)
class BakeTarget:
    """One service to build.

    Attributes:
        service: its name, which is the bake target's.
        inputs: what decides its image.
        tags: full names, registry first; the repository of the first also names the registry's cache.
        secrets: BuildKit secret → file that holds its value. Only the file's path is ever written down.
        cache: where layers are kept for other machines.
    """

    service: str
    inputs: BuildInputs
    tags: tuple[str, ...] = ()
    secrets: Mapping[str, Path] = field(default_factory=dict)
    cache: CacheMode = "auto"


def make_definition(
    targets: Iterable[BakeTarget], output: BakeOutput | str, oci_dir: Path, stage: str | None = None
) -> dict[str, JsonObject]:
    """Return the bake definition, to be written as JSON.

    Args:
        targets: what to build.
        output: `oci` for an OCI layout per target, `registry` to push, `dev` to push by digest alone what runs
        while somebody works on it, `none` to build without keeping anything.
        oci_dir: the folder that gets a folder per target, named after it, when output is `oci`.
        stage: build this stage of each instead of the one in its inputs (`test`).
    """
    parts = [(target.service, target) for target in targets]
    if output == "oci":
        parts = [part for _, target in parts for part in split_by_platform(target).items()]
    return {"target": {name: _make_target(part, output, oci_dir / name, stage) for name, part in parts}}


def split_by_platform(target: BakeTarget) -> dict[str, BakeTarget]:
    """Return the targets that a service is built by: one for each platform, where there are several.

    So each can go to a builder of its own and has a cache of its own; buildx itself joins no OCI layouts of several
    builders. The results are joined afterwards: `run.oci.join`.
    """
    platforms = sorted(set(target.inputs.platforms))
    if len(platforms) < 2:
        return {target.service: target}
    return {
        f"{target.service}{PLATFORM_SEPARATOR}{platform.replace('/', '-')}": replace(
            target, inputs=replace(target.inputs, platforms=(platform,))
        )
        for platform in platforms
    }


def target_names(targets: Iterable[BakeTarget]) -> list[str]:
    """Return the names of the targets that build OCI layouts."""
    return [name for target in targets for name in split_by_platform(target)]


def make_test_definition(targets: Iterable[BakeTarget], reports: Path) -> dict[str, JsonObject]:
    """Return the part of a definition that runs each `test` stage and fetches the JUnit file that it wrote.

    A test stage need not write one: where there is none, nothing is fetched. Build the targets that
    `report_target_names` names.

    Args:
        targets: whose tests to run.
        reports: the folder that gets a folder per service, named after it.
    """
    found: dict[str, JsonObject] = {}
    for target in targets:
        stage = _make_target(target, "none", reports / target.service, "test")
        found[f"{target.service}{TEST_SUFFIX}"] = stage
        found[f"{target.service}{REPORT_SUFFIX}"] = {
            "context": stage["context"],
            "contexts": {"tests": f"target:{target.service}{TEST_SUFFIX}"},
            "dockerfile-inline": f"FROM scratch\nCOPY --from=tests {JUNIT_GLOB} /\n",
            **{key: stage[key] for key in ("platforms",) if key in stage},
            "attest": list(NO_ATTESTATIONS),
            "output": [
                escape_expressions(csv_fields({"type": "local", "dest": str((reports / target.service).absolute())}))
            ],
        }
    return found


def report_target_names(targets: Iterable[BakeTarget]) -> list[str]:
    """Return the names of the targets that run the tests."""
    return [f"{target.service}{REPORT_SUFFIX}" for target in targets]


def service_of(name: str) -> str:
    """Return the service that one of a definition's targets is for."""
    return name.partition("_")[0]


def argv(
    buildx: Path,
    file: Path,
    builder: str,
    targets: Sequence[BakeTarget],
    *,
    progress: str = "rawjson",
    oci_dir: Path | None = None,
    chosen: Sequence[str] | None = None,
    metadata: Path | None = None,
) -> list[str]:
    """Return the command that runs a bake definition.

    Bake asks before it reads or writes outside the folder it runs in; the flags say yes to exactly what the
    definition names.

    Args:
        buildx: the `docker-buildx` binary.
        file: the definition.
        builder: the buildx builder's name.
        targets: what the definition holds.
        progress: `rawjson` for `progress.Progress`, or `escape_expressions` to read.
        oci_dir: the folder for OCI layouts, if it lies outside the folder that bake runs in.
        chosen: the targets to build, where they are not just the services' OCI layouts.
        metadata: a file that gets what was built and how, each target's provenance included.
    """
    reads = {path for target in targets for path in _read_paths(target)}
    allowed = [f"--allow=fs.read={path}" for path in sorted(map(str, reads))]
    allowed += [f"--allow=fs.write={oci_dir}"] if oci_dir else []
    return [
        str(buildx),
        "bake",
        f"--builder={builder}",
        f"--file={file}",
        f"--progress={progress}",
        *([f"--metadata-file={metadata}"] if metadata else []),
        *allowed,
        *(chosen if chosen is not None else target_names(targets)),
    ]


def build_args(inputs: BuildInputs) -> dict[str, str]:
    """Return all arguments that a build is given: the service's own, the bases, the frontend, the epoch; sorted."""
    frontend = {FRONTEND_ARGUMENT: inputs.frontend} if inputs.frontend else {}
    return dict(sorted({**frontend, **inputs.args, **inputs.bases, "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH}.items()))


def _make_target(target: BakeTarget, output: str, folder: Path, stage: str | None) -> JsonObject:
    inputs = target.inputs
    found: JsonObject = {
        "context": escape_expressions(inputs.context.absolute()),
        "contexts": {name: escape_expressions(path.absolute()) for name, path in inputs.contexts.items()},
        "dockerfile": escape_expressions(inputs.dockerfile.absolute()),
        "args": {name: escape_expressions(value) for name, value in build_args(inputs).items()},
        "platforms": sorted(set(inputs.platforms)),
        "tags": list(target.tags) if output != "dev" else [],
        "secret": [
            escape_expressions(csv_fields({"id": name, "src": str(path)})) for name, path in target.secrets.items()
        ],
        "attest": list(NO_ATTESTATIONS),
        "output": [escape_expressions(_format_output(output, folder, target.tags))],
        **layer_cache_options(target.tags, inputs.platforms, target.cache, writing=output not in ("dev", "none")),
    }
    stage_name = stage or inputs.target
    if stage_name:
        found["target"] = stage_name
    return {key: value for key, value in found.items() if value}


def _format_output(output: str, folder: Path, tags: Sequence[str]) -> str:
    if output == "oci":
        return f"{csv_fields({'type': 'oci', 'dest': str(folder.absolute()), 'tar': 'false'})},{EXPORT_FORMAT}"
    if output == "registry":
        return f"{IMAGE_EXPORT},push=true"
    if output == "dev":
        return f"{DEV_EXPORT},{csv_fields({'name': repository_of(tags[0])})}"
    if output == "none":
        return "type=cacheonly"
    raise ValueError(f"no such output: {output}")


def layer_cache_options(
    tags: Sequence[str], platforms: Sequence[str], cache: CacheMode = "auto", *, writing: bool
) -> dict[str, list[str]]:
    """Return where layers are kept for other machines: beside the images, a cache for each service and platform.

    A build for several platforms at once only reads: what it wrote would be found under one platform's name alone.
    A cache is written whole and then named, so of two writers the later one stays; one that may not be written, or
    is not there, fails no build.

    Args:
        tags: the image's full names; the repository of the first also names the cache's.
        platforms: which the build is for; none: the builder's own.
        cache: `auto` keeps none for a registry on this machine, where the builder's own cache is at hand.
        writing: False for a build whose layers nobody else needs.
    """
    if not tags or cache == "off" or (cache == "auto" and LOOPBACK.match(tags[0])):
        return {}
    cache_repository = f"{repository_of(tags[0])}{CACHE_SUFFIX}"
    refs = [f"{cache_repository}:{platform.replace('/', '-')}" for platform in sorted(set(platforms)) or ["native"]]
    found = {"cache-from": [f"type=registry,ref={ref}" for ref in refs]}
    if writing and cache != "read" and len(refs) == 1:
        options = "mode=max,image-manifest=true,oci-mediatypes=true,ignore-error=true"
        found["cache-to"] = [f"type=registry,ref={refs[0]},{options}"]
    return found


def repository_of(ref: str) -> str:
    """Return an image reference without its tag and digest."""
    name = ref.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def _read_paths(target: BakeTarget) -> Iterable[Path]:
    inputs = target.inputs
    yield inputs.context.absolute()
    yield inputs.dockerfile.parent.absolute()
    yield from (path.absolute() for path in inputs.contexts.values())
    yield from (path.absolute() for path in target.secrets.values())


def csv_fields(values: Mapping[str, str]) -> str:
    """Return `key=value` fields as BuildKit reads them: a line of CSV, so that a path may hold a comma."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([f"{key}={value}" for key, value in values.items()])
    return line.getvalue()


def escape_expressions(text: str | Path) -> str:
    """Return text that bake takes as it is: `${` and `%{` would start an expression."""
    return str(text).replace("${", "$${").replace("%{", "%%{")
