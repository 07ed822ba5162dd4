"""The content digest: SHA-256 of all that decides an image, and the manifest that says what went into it.

Encoding, version 1. A manifest maps components to hashes (64 hexadecimal digits):

    dockerfile                  SHA-256 of the Dockerfile's bytes
    frontend                    where a `# syntax=` line asks for a `docker/dockerfile` without a digest: SHA-256 of the
                                name and version of the one that reads the Dockerfile
    target                      SHA-256 of the stage's name in lower case; of nothing for the last stage
    platforms                   SHA-256 of the platforms, each framed, sorted, without repetition
    arg NAME                    SHA-256 of a build argument's value
    base NAME                   a base's own digest, NAME being the build argument that carries it
    file PATH                   fingerprint of a file, folder or link of the context (`build_context.fingerprint_tree`)
    context NAME                SHA-256 of nothing: a context of this name is given
    context NAME: PATH          fingerprint of what is at PATH in that context

The content digest is the SHA-256 of the framed version name and, for each component in the order of its
bytes, its framed name and its framed hash. Framed means: preceded by its length in eight bytes, big-endian;
so no two different inputs give the same encoding. Text is UTF-8; file names that are not UTF-8 are hashed
as raw bytes.

Left out are secrets, SOURCE_DATE_EPOCH (the same for every build), times, owners, the checkout's path, the
registry that a base comes from, and git. The digest covers everything in a context that its ignore file
leaves in. BuildKit skips what no instruction names, so the digest can cause a needless build, but never a
stale image.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from slipway._internal.content import build_context, dockerignore, pinning
from slipway._internal.content.dockerfile import Dockerfile
from slipway._internal.content.dockerfile import read as read_dockerfile
from slipway._internal.content.frontend import frontend_identity
from slipway._internal.content.stat_cache import StatCache
from slipway._internal.model.errors import ConfigError

VERSION = "slipway content digest 1"
TEST_STAGE = "test"
"""The stage that the gate runs beside the image's own: what it takes from elsewhere decides whether tests pass."""
IGNORED_ARGS = frozenset({"SOURCE_DATE_EPOCH"})
_DIGEST = re.compile(r"@sha256:([0-9a-f]{64})\Z")
_CONTEXT_NAME = re.compile(r"[a-z0-9][a-z0-9._/:@-]*\Z")

ContentManifest = dict[str, str]
_TreeCache = dict[tuple[Path, dockerignore.Dockerignore], dict[str, str]]


@dataclass(frozen=True)
class BuildInputs:
    """What decides an image, as BuildKit is given it.

    Attributes:
        dockerfile: the Dockerfile.
        context: the main context's root.
        contexts: named contexts: name → root.
        target: the stage to build; empty for the last one.
        platforms: such as `linux/amd64`; their order is without meaning.
        args: build arguments; never a secret.
        bases: build argument → image reference with a digest; only the digest counts.
        frontend: image reference, with a digest, of the frontend that the `# syntax=` line asks for where that is later
            than the builder's own; what counts of it is the version.
        parsed: what the Dockerfile said when these inputs were gathered; None has it read when it is needed.
    """

    dockerfile: Path
    context: Path
    contexts: Mapping[str, Path] = field(default_factory=dict)
    target: str | None = ""
    platforms: tuple[str, ...] = ()
    args: Mapping[str, str] = field(default_factory=dict)
    bases: Mapping[str, str] = field(default_factory=dict)
    frontend: str = ""
    parsed: Dockerfile | None = field(default=None, compare=False, repr=False)

    def as_on_disk(self) -> BuildInputs:
        """Return them without what was read: as the files are now."""
        return replace(self, parsed=None)

    def read_dockerfile(self) -> Dockerfile:
        """Return the Dockerfile, as it was read already where it was.

        Raises:
            ConfigError: it is missing, or BuildKit could not make sense of it either.
        """
        return self.parsed or read_dockerfile(self.dockerfile)


def content_digest(inputs: BuildInputs) -> str:
    """Return the content digest: 64 hexadecimal digits.

    Raises:
        ConfigError: a file, folder, stage or base that the inputs name is missing or wrong, an image is not
        pinned
            by digest, or a file cannot be read.
    """
    return manifest_digest(content_manifest(inputs))


def content_digests(inputs: Mapping[str, BuildInputs], stat_cache: StatCache | None = None) -> dict[str, str]:
    """Return the content digest of each, by the same keys; a context that several share is read once.

    Unchanged files that the stat cache knows are not read; it records the others.

    Raises:
        ConfigError: as for `content_digest`.
    """
    return {key: manifest_digest(manifest) for key, manifest in content_manifests(inputs, stat_cache).items()}


def content_manifest(inputs: BuildInputs) -> ContentManifest:
    """Return the manifest: each component of the content digest with its hash, sorted.

    Raises:
        ConfigError: as for `content_digest`.
    """
    return content_manifests({"": inputs})[""]


def content_manifests(
    inputs: Mapping[str, BuildInputs], stat_cache: StatCache | None = None
) -> dict[str, ContentManifest]:
    """Return the manifest of each, by the same keys; a context that several share is read once.

    Unchanged files that the stat cache knows are not read; it records the others.

    Raises:
        ConfigError: as for `content_digest`.
    """
    trees: _TreeCache = {}
    return {key: _make_manifest(build_inputs, trees, stat_cache) for key, build_inputs in inputs.items()}


def manifest_digest(manifest: Mapping[str, str]) -> str:
    """Return the content digest that a manifest stands for."""
    digest = hashlib.sha256(build_context.frame(VERSION.encode()))
    for component, value in sorted((_encode(component), value) for component, value in manifest.items()):
        digest.update(build_context.frame(component) + build_context.frame(value.encode()))
    return digest.hexdigest()


def describe_changes(
    before: Mapping[str, str], after: Mapping[str, str], folders: Mapping[str, str] | None = None
) -> list[str]:
    """Return what differs between two manifests, in lines: "services/api/main.py changed", "arg X added".

    Args:
        before: the older manifest.
        after: the newer one.
        folders: what to call each context's root: the main one's key is the empty text.
    """
    lines = []
    for component in sorted({*before, *after}):
        old, new = before.get(component), after.get(component)
        if old != new:
            how = "added" if old is None else "removed" if new is None else "changed"
            lines.append(f"{describe_component(component, folders or {})} {how}")
    return list(dict.fromkeys(lines))


def describe_component(component: str, folders: Mapping[str, str]) -> str:
    """Return a manifest's component in words: a file by its path below the folder of its context."""
    kind, _, rest = component.partition(" ")
    if kind == "dockerfile":
        return "Dockerfile"
    if kind == "base":
        return f"base {rest.lower().replace('_', '-')}"
    name, colon, path = ("", ":", rest) if kind == "file" else rest.partition(": ")
    if kind not in ("file", "context") or not colon:
        return component
    folder = folders.get(name, "").rstrip("/")
    if folder:
        return _to_printable(f"{folder}/{path}")
    return _to_printable(component if name else path)


def _to_printable(text: str) -> str:
    return _encode(text).decode("utf-8", "backslashreplace")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _make_manifest(inputs: BuildInputs, trees: _TreeCache, stat_cache: StatCache | None) -> ContentManifest:
    if stat_cache:
        if str(inputs.dockerfile) not in stat_cache.current:
            inputs = inputs.as_on_disk()  # what is taken down of it now may be of later bytes than were read
        for path in _control_files(inputs):
            stat_cache.record_path(path)
    parsed = inputs.read_dockerfile()
    bases = {name: pinned_digest(name, ref) for name, ref in inputs.bases.items()}
    build_args = {**inputs.args, **inputs.bases}
    for target in (inputs.target or "", *([TEST_STAGE] if parsed.has_stage(TEST_STAGE) else [])):
        pinning.check(parsed, target, args=build_args, contexts=inputs.contexts, platforms=inputs.platforms)
    manifest = {
        "dockerfile": _sha256(parsed.text),
        "target": _sha256(_encode((inputs.target or "").lower())),
        "platforms": _sha256(_frame_all(sorted(set(inputs.platforms)))),
    }
    if identity := frontend_identity(parsed):
        manifest["frontend"] = _sha256(identity.encode())
    manifest |= {
        f"arg {name}": _sha256(_encode(value)) for name, value in inputs.args.items() if name not in IGNORED_ARGS
    }
    manifest |= {f"base {name}": digest for name, digest in bases.items()}
    main = _tree_fingerprints(
        inputs.context, dockerignore.load_dockerignore(inputs.context, inputs.dockerfile), trees, stat_cache
    )
    manifest |= {f"file {path}": value for path, value in main.items()}
    for name, root in inputs.contexts.items():
        _check_context_name(name)
        manifest[f"context {name}"] = _sha256(b"")
        tree = _tree_fingerprints(root, dockerignore.load_dockerignore(root), trees, stat_cache)
        manifest |= {f"context {name}: {path}": value for path, value in tree.items()}
    return dict(sorted(manifest.items()))


def pinned_digest(name: str, ref: str) -> str:
    """Return the digest that an image reference is pinned to: 64 hexadecimal digits.

    Raises:
        ConfigError: it is not pinned.
    """
    found = _DIGEST.search(ref)
    if not found:
        raise ConfigError(
            f"base {name} is {ref or 'empty'}, which is not pinned by digest",
            remedy="Write it as NAME@sha256:…; `invoke setup` writes bases/bases.lock.json with digests.",
        )
    return found.group(1)


def _control_files(inputs: BuildInputs) -> list[Path]:
    """Return the files that decide what is read of the contexts: they need not be there."""
    own = [inputs.dockerfile, inputs.dockerfile.with_name(f"{inputs.dockerfile.name}{dockerignore.FILE_NAME}")]
    return [*own, *(root / dockerignore.FILE_NAME for root in (inputs.context, *inputs.contexts.values()))]


def _tree_fingerprints(
    root: Path, rules: dockerignore.Dockerignore, trees: _TreeCache, stat_cache: StatCache | None
) -> dict[str, str]:
    key = (root, rules)
    if key not in trees:
        trees[key] = build_context.fingerprint_tree(root, rules, stat_cache)
    return trees[key]


def _frame_all(parts: Iterable[str]) -> bytes:
    return b"".join(build_context.frame(_encode(part)) for part in parts)


def _check_context_name(name: str) -> None:
    if not _CONTEXT_NAME.match(name):
        raise ConfigError(
            f"{name!r} cannot name a build context",
            remedy="Use lower-case letters, digits, dots, dashes and underscores.",
        )
