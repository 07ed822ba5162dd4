"""Runs a bake: secrets as files that go with it, a log for each target, and one error for what failed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slipway._internal.build.bake_output import BakeOutputHandler
from slipway._internal.context.logs import logs_folder
from slipway._internal.context.reporter import Reporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.insight.run_recorder import record_run_as
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.files import MAX_STATE_BYTES, write_atomically
from slipway._internal.model.scratch import process_folder, temporary_folder
from slipway._internal.model.structured_files import read_json
from slipway._internal.model.workspace import read_build_secret
from slipway._internal.run.process import run
from slipway._internal.run.stack_config import read_setting

BakeFactory = Callable[[Mapping[str, Path], Path, Path], tuple[Mapping[str, Any], list[str]]]
"""Secret files, buildx and the definition's file → the bake definition, and the command that carries it out."""


@record_run_as("build")
def run_bake(
    context: RunContext,
    targets: Sequence[str],
    reporter: Reporter,
    create_bake: BakeFactory,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run one bake of all the targets; each service gets a log. Several bakes may run at once.

    Args:
        context: tools, and their environment.
        targets: the names of the targets that are built.
        reporter: told each step.
        create_bake: makes the definition and the command.
        environment: further variables for buildx.

    Raises:
        SlipwayError: a step failed; its last lines and its log are in the error.
    """
    workspace = context.workspace
    file = process_folder(workspace.scratch) / f"bake-{threading.get_ident()}.json"
    output = BakeOutputHandler(reporter, logs_folder(workspace), targets)
    try:
        with secret_files(context) as secrets:
            definition, command = create_bake(secrets, context.bin / "docker-buildx", file)
            write_atomically(file, json.dumps(definition, indent=2))
            result = run(
                command, cwd=workspace.root, env={**context.environment, **(environment or {})}, on_line=output
            )
    finally:
        file.unlink(missing_ok=True)
        output.close()
    if result.code:
        raise output.error_for(result)


@contextmanager
def secret_files(context: RunContext) -> Iterator[dict[str, Path]]:
    """Yield the build secrets as files that only this user can read, and that go when the build has ended."""
    workspace = context.workspace
    with temporary_folder(workspace.scratch, "secrets") as folder:
        files = {}
        for name, source in workspace.build_secrets(os.environ).items():
            value = _config_secret(context, source.config) if source.config else read_build_secret(source, os.environ)
            if value is not None:
                files[name] = folder / name
                write_atomically(files[name], value, mode=0o600)
        yield files


def _config_secret(context: RunContext, name: str) -> str | None:
    project = context.workspace.project
    return read_setting(context.bin / "pulumi", project, context.stack, f"build:{name}", context.environment)


def read_metadata(path: Path) -> dict[str, dict[str, Any]]:
    """Return what buildx wrote of each target that a bake built.

    Raises:
        SlipwayError: it wrote nothing, or something else.
    """
    remedy = "Build it again; `invoke doctor` shows the builder and its version."
    kind = dict[str, dict[str, Any]]
    return read_json(path, kind, what="metadata of a build", error=SlipwayError, remedy=remedy, limit=MAX_STATE_BYTES)
