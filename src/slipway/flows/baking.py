"""Runs a bake: secrets as files that go with it, a log for each target, and one error for what failed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slipway.flows.logs import logs_of
from slipway.flows.progress import Follower
from slipway.flows.recording import recorded_as
from slipway.flows.report import Report
from slipway.flows.standing import Ground
from slipway.model.errors import SlipwayError
from slipway.model.files import MEMORY_LIMIT, write_atomically
from slipway.model.reading import read_json
from slipway.model.scratch import own_folder, temporary_folder
from slipway.model.workspace import secret_value
from slipway.run.process import run
from slipway.run.stack_config import configured

Bake = Callable[[Mapping[str, Path], Path, Path], tuple[Mapping[str, Any], list[str]]]
"""Secret files, buildx and the definition's file → the bake definition, and the command that carries it out."""


@recorded_as("build")
def carry_out(
    ground: Ground, targets: Sequence[str], report: Report, bake: Bake, environment: Mapping[str, str] | None = None
) -> None:
    """Run one bake of all the targets; each service gets a log. Several bakes may run at once.

    Args:
        ground: tools, and their environment.
        targets: the names of the targets that are built.
        report: told each step.
        bake: makes the definition and the command.
        environment: further variables for buildx.

    Raises:
        SlipwayError: a step failed; its last lines and its log are in the error.
    """
    workspace = ground.workspace
    file = own_folder(workspace.scratch) / f"bake-{threading.get_ident()}.json"
    follower = Follower(report, logs_of(workspace), targets)
    try:
        with secret_files(ground) as secrets:
            definition, command = bake(secrets, ground.bin / "docker-buildx", file)
            write_atomically(file, json.dumps(definition, indent=2))
            result = run(
                command, cwd=workspace.root, env={**ground.environment, **(environment or {})}, on_line=follower
            )
    finally:
        file.unlink(missing_ok=True)
        follower.close()
    if result.code:
        raise follower.failure(result)


@contextmanager
def secret_files(ground: Ground) -> Iterator[dict[str, Path]]:
    """Yield the build secrets as files that only this user can read, and that go when the build has ended."""
    workspace = ground.workspace
    with temporary_folder(workspace.scratch, "secrets") as folder:
        files = {}
        for name, source in workspace.build_secrets(os.environ).items():
            value = _configured(ground, source.config) if source.config else secret_value(source, os.environ)
            if value is not None:
                files[name] = folder / name
                write_atomically(files[name], value, mode=0o600)
        yield files


def _configured(ground: Ground, name: str) -> str | None:
    root = ground.workspace.root
    return configured(ground.bin / "pulumi", root, ground.stack, f"build:{name}", ground.environment)


def metadata_of(path: Path) -> dict[str, dict[str, Any]]:
    """Return what buildx wrote of each target that a bake built.

    Raises:
        SlipwayError: it wrote nothing, or something else.
    """
    remedy = "Build it again; `invoke doctor` shows the builder and its version."
    kind = dict[str, dict[str, Any]]
    return read_json(path, kind, what="metadata of a build", error=SlipwayError, remedy=remedy, limit=MEMORY_LIMIT)
