"""Cache mounts carried between builders: the bake definitions that read one into an archive, and fill one from it.

A cache mount is in no image and no layer cache: BuildKit keeps it beside both, under its id. The only way to it is a
build that mounts it. No secret is given to these builds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from slipway.commands.bake import NO_ATTESTATIONS, Json, fields, plain

ID = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._/-]*")
"""The ids that are carried; BuildKit takes others, which no Dockerfile of Slipway's kinds has."""

_MOUNT = "--mount=type=cache,id={id},target=/cache,sharing=locked"
# npm's own logs are of no use to the next build, and name what its settings name.
_SAVE = f"""\
FROM {{image}} AS carried
ARG RUN_OF
RUN {_MOUNT} mkdir /saved && tar --create --numeric-owner --exclude=./_logs --directory=/cache --file=/saved/{{file}} .
FROM scratch
COPY --from=carried /saved /
"""
_LOAD = f"""\
FROM {{image}} AS carried
ARG RUN_OF
RUN {_MOUNT} --mount=type=bind,source={{file}},target=/saved.tar \\
    tar --extract --numeric-owner --preserve-permissions --directory=/cache --file=/saved.tar
"""


def target_of(cache: str) -> str:
    """Return the name of the bake target for a cache mount's id."""
    return f"cache-{re.sub('[^A-Za-z0-9-]', '-', cache).strip('-')}"


def file_of(cache: str) -> str:
    """Return the name of the archive of a cache mount."""
    return f"{target_of(cache).removeprefix('cache-')}.tar"


def saving(caches: Mapping[str, str], folder: Path, moment: str) -> dict[str, Json]:
    """Return the bake definition that reads cache mounts into archives, `file_of` each, in a folder.

    Args:
        caches: id → an image that has a shell and tar: one that a stage with this mount starts from.
        folder: gets the archives: owners, modes and times as they are in the mount.
        moment: another text each time.
    """
    return _definition(
        caches, _SAVE, moment, {"output": [plain(fields({"type": "local", "dest": str(folder.absolute())}))]}
    )


def loading(caches: Mapping[str, str], folder: Path, moment: str) -> dict[str, Json]:
    """Return the bake definition that adds what archives in a folder hold to cache mounts; arguments as above."""
    context = plain(folder.absolute())
    return _definition(caches, _LOAD, moment, {"output": ["type=cacheonly"], "context": context})


def argv(buildx: Path, file: Path, builder: str, caches: Mapping[str, str], folder: Path) -> list[str]:
    """Return the command that carries out a definition."""
    allowed = [f"--allow=fs.{way}={folder.absolute()}" for way in ("read", "write")]
    flags = [f"--builder={builder}", f"--file={file}", "--progress=rawjson", *allowed]
    return [str(buildx), "bake", *flags, *map(target_of, caches)]


def _definition(caches: Mapping[str, str], text: str, moment: str, more: Json) -> dict[str, Json]:
    return {
        "target": {
            target_of(cache): {
                "dockerfile-inline": plain(text.format(id=cache, image=image, file=file_of(cache))),
                # What a mount holds is not known from outside, so the step must not be taken from the cache. But
                # BuildKit empties the mounts of a step that was asked for with `no-cache`.
                "args": {"RUN_OF": moment},
                "attest": list(NO_ATTESTATIONS),
                **more,
            }
            for cache, image in caches.items()
        }
    }
