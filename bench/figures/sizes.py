"""How big the images are, beside naive Dockerfiles of the same apps, and what a one-line change pushes."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.ground import Bench, invoke, lock_of
from bench.measure import Limit, Row
from bench.process import Failed, run

TITLE = "Sizes, and what a change pushes"
ABOUT = (
    "Compressed bytes as the registry holds them. The naive Dockerfile is one stage: the base "
    "with build tools, `COPY . .`, then the packages, from the same family of bases. A change "
    "is one line of a service's code; the blobs and the manifest that the registry did not have"
    " are pushed."
)
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
CA = "--mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,required=false"
NAIVE_PYTHON = f"""\
ARG BASE
FROM $BASE
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
WORKDIR /app
COPY . .
COPY --from=common common common
RUN {CA} python3 -m venv .venv && .venv/bin/python -m pip install -r requirements.txt
CMD [".venv/bin/python", "-m", "app"]
"""
NAIVE_NODE = f"""\
ARG BASE
FROM $BASE
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
WORKDIR /app
COPY . .
RUN {CA} npm install
CMD ["node", "app/server.js"]
"""
CODE = {"api": "app/main.py", "web": "app/app.js", "worker": "app/work.py"}
COMMENT = {"api": "#", "web": "//", "worker": "#"}
OFFICIAL = {"api": "python", "web": "node", "worker": "python"}
MEGA = 1e6


@dataclass(frozen=True)
class Image:
    """An image in a registry: its layers (digest → bytes) and the bytes of its manifest and configuration."""

    layers: dict[str, int]
    about: int

    @property
    def size(self) -> int:
        return sum(self.layers.values()) + self.about

    def beyond(self, other: Image) -> int:
        """Return the bytes that this has and another has not."""
        return sum(size for digest, size in self.layers.items() if digest not in other.layers) + self.about


def rows(bench: Bench) -> Iterator[Row]:
    """Push the demo and its naive twins, change a line of each, push again, and compare."""
    workspace = bench.demo
    bench.say("sizes: pushing the demo and its naive twins")
    before, naive = ours(workspace), naive_images(bench, workspace)
    for name, code in CODE.items():
        file = workspace / "services" / name / code
        file.write_text(file.read_text(encoding="utf-8") + f"{COMMENT[name]} one more line\n", encoding="utf-8")
    after, naive_after = ours(workspace), naive_images(bench, workspace)
    for name, image in before.items():
        yield megabytes(f"{name}: Slipway's image", image.size, layers(image))
        yield megabytes(f"{name}: naive Dockerfile", naive[name].size, layers(naive[name]), image.size)
    for family in sorted(set(OFFICIAL.values())):
        yield official(bench, workspace, family)
    for name, image in after.items():
        biggest = max((size for digest, size in image.layers.items() if digest not in before[name].layers), default=0)
        limit = Limit(round((biggest + image.about) / 1e3, 3))
        note = "the code layer, manifest and configuration are the limit"
        pushed = image.beyond(before[name])
        yield Row("sizes", f"{name}: pushed after one line, Slipway", pushed / 1e3, "kB", limit, runs=1, note=note)
        twin = naive_after[name].beyond(naive[name])
        yield Row("sizes", f"{name}: pushed after one line, naive", twin / 1e3, "kB", None, twin / pushed, runs=1)


def megabytes(what: str, size: int, note: str, ours_size: int = 0) -> Row:
    return Row("sizes", what, size / MEGA, "MB", None, size / ours_size if ours_size else None, runs=1, note=note)


def layers(image: Image) -> str:
    return f"{len(image.layers)} layers"


def ours(workspace: Path) -> dict[str, Image]:
    """Build and push the demo, and return its images."""
    invoke(workspace, "build")
    invoke(workspace, "push", "--stack", "staging")
    lock = json.loads((workspace / "deploy" / "staging.lock.json").read_text(encoding="utf-8"))
    return {name: fetched(lock["services"][name]["ref"]) for name in CODE}


def naive_images(bench: Bench, workspace: Path) -> dict[str, Image]:
    """Build and push the naive twins of the demo's services, and return their images."""
    place = bench.folder / "naive"
    place.mkdir(exist_ok=True)
    bases = lock_of(workspace)
    targets = {}
    for name in CODE:
        folder, family = workspace / "services" / name, OFFICIAL[name]
        targets[name] = {
            "context": str(folder),
            "contexts": {"common": str(workspace / "libs" / "common")},
            "dockerfile-inline": NAIVE_PYTHON if family == "python" else NAIVE_NODE,
            "args": {"BASE": bases[f"{family}-build"]},
            "secret": ["id=ca,src=/etc/ssl/certs/ca-certificates.crt"],
            "tags": [f"{bench.registry}/bench-naive/{name}:latest"],
            "attest": ["type=provenance,disabled=true"],
            "output": ["type=registry,oci-mediatypes=true"],
        }
    file = place / "bake.json"
    file.write_text(json.dumps({"group": {"default": {"targets": list(targets)}}, "target": targets}), encoding="utf-8")
    buildx = workspace / ".slipway" / "bin" / "docker-buildx"
    allowed = [f"--allow=fs.read={path}" for path in (workspace, "/etc/ssl/certs/ca-certificates.crt")]
    command = [str(buildx), "bake", "--builder=slipway", f"--file={file}", "--progress=plain", *allowed, "default"]
    run(command, workspace, bench.tools(workspace))
    return {name: fetched(f"{bench.registry}/bench-naive/{name}:latest") for name in CODE}


def fetched(ref: str) -> Image:
    """Read an image's manifest from the bench's registry."""
    host, _, rest = ref.partition("/")
    repository, _, reference = rest.partition("@") if "@" in rest else rest.rpartition(":")
    request = urllib.request.Request(f"http://{host}/v2/{repository}/manifests/{reference}")
    request.add_header("Accept", MANIFESTS)
    with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
        content = reply.read()
    return image_of(json.loads(content), len(content))


def image_of(manifest: dict[str, Any], size: int) -> Image:
    """Return the image that a manifest of so many bytes is of."""
    found = {each["digest"]: int(each["size"]) for each in manifest["layers"]}
    return Image(found, size + int(manifest["config"]["size"]))


def official(bench: Bench, workspace: Path, family: str) -> Row:
    """Return the size of a family's official slim base where its registry can be reached."""
    import tomllib

    what = f"official {family} slim base"
    settings = tomllib.loads((workspace / "workspace.toml").read_text(encoding="utf-8"))
    ref = settings["bases"]["official"][f"{family}-run"]
    command = [workspace / ".slipway" / "bin" / "crane", "manifest", "--platform=linux/amd64", ref]
    try:
        content = run(["timeout", "20", *command], workspace, bench.tools(workspace))
        image = image_of(json.loads(content), len(content))
    except (Failed, ValueError, KeyError):
        return Row("sizes", what, None, "MB", note=f"{ref.partition('@')[0]} cannot be pulled from here")
    return megabytes(what, image.size, layers(image))
