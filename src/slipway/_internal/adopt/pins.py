"""Finds the digest of each image that is named without one, and writes it into Dockerfiles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slipway._internal.content.dockerfile import (
    Dockerfile,
    Reference,
    argument_values_by_platform,
    walk_needed_stages,
)
from slipway._internal.content.service_inputs import base_argument
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.text import read_text
from slipway._internal.model.workspace import Workspace
from slipway._internal.run.registry import DIGEST_PATTERN, open_registry, parse_reference

REGISTRY_SECONDS = 15.0
HOW_TO_PIN = (
    "Adopt it where the registry answers, or write `{image}@sha256:…` into a file for --pin (`docker buildx imagetools "
    "inspect {image}` shows the digest)."
)
SILENT = "does not answer"
"""What errors say of a registry that need not be asked again."""
AskRegistry = Callable[[str], str | None]
"""Returns the digest of an image; None where there is no such image. Raises SlipwayError: the registry does not say."""


@dataclass
class Pins:
    """The digests that are known, and who is asked for others.

    Attributes:
        known: an image's full name with its tag → its digest.
        ask: asks the image's registry; None to ask nobody.
        failures: why an image has no digest: its name → the reason.
    """

    known: dict[str, str] = field(default_factory=dict)
    ask: AskRegistry | None = None
    failures: dict[str, str] = field(default_factory=dict)
    _silent_hosts: dict[str, str] = field(default_factory=dict)

    def pin(self, image: str) -> str | None:
        """Return an image with its digest, registry and tag first; None where it cannot be known.

        Raises:
            ConfigError: it names no image.
        """
        name, _, digest = image.partition("@")
        full = full_name(name)
        if digest:
            return f"{full}@{digest}" if DIGEST_PATTERN.fullmatch(digest) else None
        if full not in self.known and full not in self.failures:
            self._find(full)
        return f"{full}@{self.known[full]}" if full in self.known else None

    def why_unknown(self, image: str) -> str:
        """Return why an image has no digest."""
        return self.failures.get(full_name(image.partition("@")[0]), "its digest is not one")

    def _find(self, full: str) -> None:
        host = parse_reference(full).host
        if self.ask is None:
            self.failures[full] = "no registry was asked"
        elif host in self._silent_hosts:
            self.failures[full] = self._silent_hosts[host]
        else:
            try:
                digest = self.ask(full)
            except SlipwayError as error:
                self.failures[full] = error.message
                if SILENT in error.message:
                    self._silent_hosts[host] = error.message
                return
            if digest:
                self.known[full] = digest
            else:
                self.failures[full] = f"{host} has no such image"


def open_pins(workspace: Workspace, file: Path | None, *, offline: bool) -> Pins:
    """Return the digests that the workspace's bases and a file name; registries are asked for others.

    Args:
        workspace: the workspace.
        file: a file with an image by tag and digest on each line; None for none.
        offline: ask no registry.

    Raises:
        ConfigError: the file cannot be read, or a line of it is not such an image.
    """
    known = dict(_read_line(ref, "workspace.toml") for ref in workspace.settings.bases.official.values())
    if file:
        for number, line in enumerate(read_text(file).splitlines(), 1):
            text = line.partition("#")[0].strip()
            if text:
                known.update([_read_line(text, f"{file}:{number}")])

    def ask(full: str) -> str | None:
        reference = parse_reference(full)
        registry = open_registry(reference.host, "pull", workspace, REGISTRY_SECONDS)
        return registry.resolve_digest(reference.repository, reference.reference)

    return Pins(known, None if offline else ask)


def _read_line(text: str, where: str) -> tuple[str, str]:
    name, _, digest = text.partition("@")
    if not DIGEST_PATTERN.fullmatch(digest):
        raise ConfigError(
            f"{where}: {text!r:.120} is not an image with its digest",
            remedy="Write one on each line: docker.io/library/postgres:17@sha256:… and 64 hexadecimal digits.",
        )
    return full_name(name), digest


def full_name(image: str) -> str:
    """Return an image's name with its registry and tag: `nginx` is `docker.io/library/nginx:latest`.

    Raises:
        ConfigError: it is not an image reference.
    """
    reference = parse_reference(image)
    return f"{reference.host}/{reference.repository}:{reference.reference}"


def base_arguments(workspace: Workspace) -> dict[str, str]:
    """Return the arguments by which the workspace's bases are given to a build."""
    return {base_argument(name): ref for name, ref in workspace.settings.bases.official.items()}


@dataclass(frozen=True)
class PinnedText:
    """A Dockerfile with digests written in, what was written, and what has none.

    Attributes:
        text: the Dockerfile.
        pinned: line → the image by digest.
        unknown: line → the image without one.
    """

    text: str
    pinned: Mapping[int, str]
    unknown: Mapping[int, str]


def pin_dockerfile(
    dockerfile: Dockerfile, targets: Iterator[str] | list[str], args: Mapping[str, str], pins: Pins
) -> PinnedText:
    """Return a Dockerfile whose stages, as far as targets need them, take images by digest.

    Args:
        dockerfile: as it was read.
        targets: the stages that are built.
        args: the build arguments, those of the workspace's bases among them.
        pins: knows the digests.

    Raises:
        ConfigError: a stage is unknown, a name comes out empty, or names no image.
    """
    lines = dockerfile.text.decode("utf-8", "surrogateescape").split("\n")
    pinned: dict[int, str] = {}
    unknown: dict[int, str] = {}
    for image, reference in _images(dockerfile, list(targets), args):
        if DIGEST_PATTERN.search(image):
            continue
        found = pins.pin(image)
        if found is None:
            unknown[reference.line] = image
        elif _replace(lines, reference, found):
            pinned[reference.line] = found
    return PinnedText("\n".join(lines), pinned, unknown)


def _images(
    dockerfile: Dockerfile, targets: list[str], args: Mapping[str, str]
) -> dict[tuple[str, Reference], None] | list[tuple[str, Reference]]:
    found: dict[tuple[str, Reference], None] = {}
    for target in targets:
        for values in argument_values_by_platform(dockerfile, target, args, ()):
            for _, images in walk_needed_stages(dockerfile, target, values, set()):
                found.update(dict.fromkeys(images))
    return list(found)


def _replace(lines: list[str], reference: Reference, image: str) -> bool:
    """Write an image in place of what an instruction names; the instruction may go on over several lines."""
    pattern = re.compile(rf"(?<![^\s=,\"']){re.escape(reference.text)}(?![^\s,\"'])")
    for number in range(reference.line - 1, len(lines)):
        changed = pattern.sub(lambda _: image, lines[number], count=1)
        if changed != lines[number]:
            lines[number] = changed
            return True
    return False
