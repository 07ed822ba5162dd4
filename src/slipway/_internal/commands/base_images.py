"""The base images: their names, their inputs, and the commands that build them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway._internal.commands import bake
from slipway._internal.content.digest import BuildInputs
from slipway._internal.model.parsing import JsonObject

DEBIAN_SUITE = "trixie"
"""The Debian release that bases are made of; the packages that bases/*/Dockerfile name are its."""

BOOTSTRAP = "debian"
DEBIAN_ARCHITECTURES = {"386": "i386", "arm/v6": "armel", "arm": "armhf", "arm/v7": "armhf", "ppc64le": "ppc64el"}
"""Architectures that have another name in Debian."""

MULTI_PLATFORM_DOCKERFILE = "FROM scratch\nARG TARGETARCH\nADD rootfs-${TARGETARCH}.tar /\n"
"""bases/debian/Dockerfile, where bases are not just for this machine's own platform."""

SHARED_FILES = ("distroless.sh", "apt.conf")
BASE_SECRETS = ("ca", "pip-conf")


@dataclass(frozen=True)
class BaseImage:
    """One base: the stage `target` of bases/`folder`/Dockerfile."""

    name: str
    folder: str
    target: str

    @property
    def repository_name(self) -> str:
        """What its repository is called."""
        return f"base-{self.name}"


HARDENED_ONLY = ("envoy", "postgres", "valkey", "rabbitmq")
"""Bases that are built here whatever `source` says: official images of these start as root, or lack a part."""
BUILDABLE_BASES = {
    base.name: base
    for base in (
        BaseImage("python-build", "python", "build"),
        BaseImage("python-run", "python", "run"),
        BaseImage("node-build", "node", "build"),
        BaseImage("node-run", "node", "run"),
        BaseImage("go-build", "go", "build"),
        BaseImage("static-run", "static", "run"),
        BaseImage("java-build", "java", "build"),
        BaseImage("java-run", "java", "run"),
        BaseImage("nginx", "nginx", "run"),
        *(BaseImage(name, name, "run") for name in HARDENED_ONLY),
    )
}
"""Those that Slipway can build. A workspace may name others in `[bases.official]`."""


def content_tag_of(base: BaseImage, files: Mapping[str, bytes], platforms: Sequence[str]) -> str:
    """Return the tag of the image that these inputs decide: `h-` and 64 hexadecimal digits.

    The packages of the day are not among them: a base is built again when its files change or someone asks.

    Args:
        base: which one.
        files: the files of the bases folder, by their path in it; those that are not the base's do not count.
        platforms: such as `linux/amd64`.
    """
    own_files = {
        path: hashlib.sha256(content).hexdigest()
        for path, content in files.items()
        if path in SHARED_FILES or path.split("/")[0] in (base.folder, BOOTSTRAP)
    }
    inputs = json.dumps([base.name, base.target, sorted(own_files.items()), sorted(set(platforms)), recipe_digest()])
    return f"h-{hashlib.sha256(inputs.encode()).hexdigest()}"


def recipe_digest() -> str:
    """Return what stands for the way the bootstrap is made: it changes when the command does."""
    return hashlib.sha256(json.dumps(mmdebstrap_argv(Path("rootfs.tar"), ())).encode()).hexdigest()[:12]


def mmdebstrap_argv(output: Path, sources: Sequence[str], platform: str = "") -> list[str]:
    """Return the command that makes a minimal Debian: the packages that are essential, apt, certificates.

    Of the machine it is made on nothing stays in it. It needs SOURCE_DATE_EPOCH in its environment.

    Args:
        output: the archive to write.
        sources: lines of a sources.list; none: mmdebstrap's own mirror.
        platform: another than this machine's own; it has to be able to run that one's programs.
    """
    return [
        "mmdebstrap",
        *([f"--architectures={debian_architecture(platform)}"] if platform else []),
        "--variant=apt",
        "--format=tar",
        "--include=ca-certificates",
        "--dpkgopt=force-unsafe-io",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        '--customize-hook=rm -f "$1/etc/hostname" "$1/etc/resolv.conf"',
        DEBIAN_SUITE,
        str(output),
        *sources,
    ]


def debian_architecture(platform: str) -> str:
    """Return what Debian calls a platform's architecture."""
    machine = platform.partition("/")[2]
    return DEBIAN_ARCHITECTURES.get(machine, machine.partition("/")[0])


def rootfs_name(platform: str) -> str:
    """Return the name of the bootstrap's archive for a platform, as the Dockerfile for several has it."""
    return f"rootfs-{platform.split('/')[1]}.tar"


LIST_APT_SOURCES = [
    "apt-get",
    "indextargets",
    "--format",
    "$(ORIGIN) $(CODENAME) $(REPO_URI)",
    "Created-By: Packages",
]
"""Lists this machine's package sources, one a line, as `parse_apt_sources` reads them."""


def parse_apt_sources(indextargets: str) -> tuple[str, ...]:
    """Return the lines of a sources.list for bases from the mirrors that this machine itself uses.

    Returns:
        None of them where the machine has no Debian mirror (it is an Ubuntu, say).
    """
    mirrors: dict[str, str] = {}
    for line in indextargets.splitlines():
        origin, codename, uri = (*line.split(), "", "", "")[:3]
        if origin == "Debian" and not codename.endswith(("-updates", "-backports")):
            mirrors.setdefault("security" if codename.endswith("-security") else "main", uri)
    if "main" not in mirrors:
        return ()
    lines = [f"deb {mirrors['main']} {DEBIAN_SUITE} main", f"deb {mirrors['main']} {DEBIAN_SUITE}-updates main"]
    if "security" in mirrors:
        lines.append(f"deb {mirrors['security']} {DEBIAN_SUITE}-security main")
    return tuple(lines)


def make_definition(
    tags: Mapping[str, str],
    folder: Path,
    platforms: Sequence[str],
    *,
    rootfs: Path | None,
    secrets: Mapping[str, Path],
    fresh: bool = False,
    foreign: bool = False,
) -> dict[str, JsonObject]:
    """Return the bake definition that builds and pushes bases.

    Args:
        tags: base → the image's full name.
        folder: the workspace's bases folder.
        platforms: such as `linux/amd64`.
        rootfs: the folder with the bootstrap's rootfs.tar; None: the official Debian in the Dockerfiles.
        secrets: build secret → file that holds its value; those that bases have no use for are left out.
        fresh: take nothing from the cache, so that the packages are those of today.
        foreign: whether `rootfs` holds an archive for each platform, by `rootfs_name`.
    """
    args = {"DEBIAN": BOOTSTRAP} if rootfs else {}
    base_secrets = {name: path for name, path in secrets.items() if name in BASE_SECRETS}
    targets = [
        # No registry cache: a base is there whole, and package lists out of a cache name packages that are gone.
        bake.BakeTarget(
            name, _build_inputs(BUILDABLE_BASES[name], folder, platforms, args), (ref,), base_secrets, "off"
        )
        for name, ref in sorted(tags.items())
    ]
    base_targets = bake.make_definition(targets, "registry", folder)["target"]
    additions: JsonObject = {"no-cache": fresh, "contexts": {BOOTSTRAP: f"target:{BOOTSTRAP}"} if rootfs else {}}
    bake_targets: JsonObject = {
        name: {**target, **additions} for name, target in base_targets.items() if isinstance(target, dict)
    }
    if rootfs:
        bootstrap = bake.BakeTarget(
            BOOTSTRAP, _build_inputs(BaseImage(BOOTSTRAP, BOOTSTRAP, ""), folder, platforms, {}, rootfs)
        )
        bootstrap_target = bake.make_definition([bootstrap], "none", folder)["target"][BOOTSTRAP]
        if foreign and isinstance(bootstrap_target, dict):
            bootstrap_target = {
                **{key: bootstrap_target[key] for key in bootstrap_target if key != "dockerfile"},
                "dockerfile-inline": bake.escape_expressions(MULTI_PLATFORM_DOCKERFILE),
            }
        bake_targets[BOOTSTRAP] = bootstrap_target
    return {"target": bake_targets}


def argv(buildx: Path, file: Path, builder: str, bases: Iterable[str], rootfs: Path | None) -> list[str]:
    """Return the command that runs a definition; bake asks before it reads outside the workspace."""
    allowed = [f"--allow=fs.read={rootfs}"] if rootfs else []
    flags = [f"--builder={builder}", f"--file={file}", "--progress=rawjson", *allowed]
    return [str(buildx), "bake", *flags, *sorted(bases)]


def _build_inputs(
    base: BaseImage, folder: Path, platforms: Sequence[str], args: Mapping[str, str], context: Path | None = None
) -> BuildInputs:
    return BuildInputs(
        dockerfile=folder / base.folder / "Dockerfile",
        context=context or folder,
        target=base.target,
        platforms=tuple(platforms),
        args=args,
    )
