"""Bake definitions that save a cache mount into an archive, and load one from it.

A cache mount is in no image and no layer cache: BuildKit keeps it beside both, under its id. The only way to it is a
build that mounts it. No secret is given to these builds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from slipway._internal.commands.bake import NO_ATTESTATIONS, csv_fields, escape_expressions
from slipway._internal.model.parsing import JsonObject

MOUNT_ID = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._/-]*")
"""The ids that are carried; BuildKit takes others, which no Dockerfile of Slipway's kinds has."""

_MOUNT_FLAG = "--mount=type=cache,id={id},target=/cache,sharing=locked"
# npm's own logs are of no use to the next build, and name what its settings name.
_SAVE_DOCKERFILE = f"""\
FROM {{image}} AS carried
ARG RUN_OF
RUN {_MOUNT_FLAG} mkdir /saved && \
tar --create --numeric-owner --exclude=./_logs --directory=/cache --file=/saved/{{file}} .
FROM scratch
COPY --from=carried /saved /
"""
_LOAD_DOCKERFILE = f"""\
FROM {{image}} AS carried
ARG RUN_OF
RUN {_MOUNT_FLAG} --mount=type=bind,source={{file}},target=/saved.tar \\
    tar --extract --numeric-owner --preserve-permissions --directory=/cache --file=/saved.tar
"""


def bake_target_name(cache: str) -> str:
    """Return the name of the bake target for a cache mount's id."""
    return f"cache-{re.sub('[^A-Za-z0-9-]', '-', cache).strip('-')}"


def archive_name(cache: str) -> str:
    """Return the name of the archive of a cache mount."""
    return f"{bake_target_name(cache).removeprefix('cache-')}.tar"


def save_definition(caches: Mapping[str, str], folder: Path, nonce: str) -> dict[str, JsonObject]:
    """Return the bake definition that reads cache mounts into archives, `archive_name` each, in a folder.

    Args:
        caches: id → an image that has a shell and tar: one that a stage with this mount starts from.
        folder: gets the archives: owners, modes and times as they are in the mount.
        nonce: another text each time.
    """
    return _make_definition(
        caches,
        _SAVE_DOCKERFILE,
        nonce,
        {"output": [escape_expressions(csv_fields({"type": "local", "dest": str(folder.absolute())}))]},
    )


def load_definition(caches: Mapping[str, str], folder: Path, nonce: str) -> dict[str, JsonObject]:
    """Return the bake definition that adds what archives in a folder hold to cache mounts; arguments as above."""
    context = escape_expressions(folder.absolute())
    return _make_definition(caches, _LOAD_DOCKERFILE, nonce, {"output": ["type=cacheonly"], "context": context})


def argv(buildx: Path, file: Path, builder: str, caches: Mapping[str, str], folder: Path) -> list[str]:
    """Return the command that runs a definition."""
    allowed = [f"--allow=fs.{way}={folder.absolute()}" for way in ("read", "write")]
    flags = [f"--builder={builder}", f"--file={file}", "--progress=rawjson", *allowed]
    return [str(buildx), "bake", *flags, *map(bake_target_name, caches)]


def _make_definition(
    caches: Mapping[str, str], template: str, nonce: str, additions: JsonObject
) -> dict[str, JsonObject]:
    return {
        "target": {
            bake_target_name(cache): {
                "dockerfile-inline": escape_expressions(
                    template.format(id=cache, image=image, file=archive_name(cache))
                ),
                # What a mount holds is not known from outside, so the step must not be taken from the cache. But
                # BuildKit empties the mounts of a step that was asked for with `no-cache`.
                "args": {"RUN_OF": nonce},
                "attest": list(NO_ATTESTATIONS),
                **additions,
            }
            for cache, image in caches.items()
        }
    }
