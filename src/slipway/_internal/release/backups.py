"""Saves a service's data into a file, and puts it back: by the commands in its `[backup]`, while it runs.

The commands run as those of `invoke exec` do, so a backup is the same on every target. A file is compressed by gzip,
whose checksum says whether it is whole.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from slipway._internal.context.reporter import Reporter
from slipway._internal.model import stack as stacks
from slipway._internal.model.containers import BackupSettings
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.files import PRIVATE_MODE, write_error
from slipway._internal.model.full_disk import full_volume_remedy, is_disk_full
from slipway._internal.model.masking import mask
from slipway._internal.model.stack import how_to_deploy
from slipway._internal.model.terminal_text import TAIL_LINES
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.run.background import Background
from slipway._internal.targets import target_of

FOLDER = "backups"
"""The folder in .slipway, which git ignores, that holds backups whose place the user does not name."""
CHUNK_BYTES = 1024 * 1024
COMPRESSION_LEVEL = 6
STOPPED = ("exited", "dead", "restarting", "paused", "created")
"""How an engine calls the state of a container in which nothing can be run."""
END_SECONDS = 15.0
"""How long a command may take to end when its user has interrupted it."""


@dataclass(frozen=True)
class Backup:
    """A backup that was written and checked: its file, and how many bytes it has and stands for."""

    file: Path
    bytes: int
    data_bytes: int


def create_backup(workspace: Workspace, stack: str, service: str, file: Path | None, reporter: Reporter) -> Backup:
    """Save a service's data, compressed, and check what was written; the file is there whole or not at all.

    Args:
        workspace: the workspace.
        stack: the stack's name.
        service: the service's name; its `[backup]` says how.
        file: where to write; without it, a new file in .slipway/backups.
        reporter: told each step.

    Raises:
        ConfigError: the service has no `[backup]`, or the file is there already.
        SlipwayError: a command failed, or the disk is full.
    """
    settings = _settings_of(workspace.service(service))
    target = file or _new_file(workspace, stack, service)
    if target.exists():
        raise ConfigError(f"{target} is there already", remedy="Name another file with --file.")
    _require_running(workspace, stack, service)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        reporter.step(service, "saving")
        data_bytes = _save(_exec_command(workspace, stack, service, settings.dump), partial, service, settings.dump)
        reporter.step(service, "checking")
        _check_file(workspace, stack, service, settings, partial, named=target)
        partial.rename(target)
    except OSError as error:
        raise write_error(error, target) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    reporter.done(service, "saved and checked")
    return Backup(target, target.stat().st_size, data_bytes)


def check_backup(workspace: Workspace, stack: str, service: str, file: Path, reporter: Reporter) -> None:
    """Check that a backup is whole, and that the service can read it, before anything is changed by it.

    Raises:
        ConfigError: the service has no `[backup]`, or the file cannot be read or is damaged.
        SlipwayError: the service does not run.
    """
    settings = _settings_of(workspace.service(service))
    _require_running(workspace, stack, service)
    reporter.step(service, "checking the backup")
    try:
        _check_file(workspace, stack, service, settings, file, named=file)
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror}", remedy="Name a file that a backup was written to."
        ) from error


def restore_backup(workspace: Workspace, stack: str, service: str, file: Path, reporter: Reporter) -> None:
    """Put back the data that a checked backup holds; what the service has now is replaced.

    Raises:
        SlipwayError: the command failed; its last lines are in the error.
    """
    settings = _settings_of(workspace.service(service))
    reporter.step(service, "restoring")
    try:
        _feed(_exec_command(workspace, stack, service, settings.restore), file, service, settings.restore)
    except SlipwayError as error:
        if is_disk_full(error.detail) and (volumes := data_volumes_of(workspace, stack, service)):
            full = f"{service}: the backup does not fit: {' or '.join(volumes)} is full"
            raise SlipwayError(full, remedy=full_volume_remedy(volumes), detail=error.detail) from error
        raise
    reporter.done(service, "restored")


def data_volumes_of(workspace: Workspace, stack: str, service: str) -> list[str]:
    """Return the names of the volumes that hold a service's data in a stack."""
    found = target_of(workspace, stacks.load(workspace.root, stack, {})).data_volumes()
    return sorted(volume.name for volume in found if volume.service == service)


def _require_running(workspace: Workspace, stack: str, service: str) -> None:
    """Raise ConfigError unless a service runs in a stack, so that its data can be saved and put back there."""
    settings = stacks.load(workspace.root, stack, {})
    if service in settings.external:
        raise ConfigError(
            f"{service} runs elsewhere in {stack}, as `slipway:external` says",
            remedy="Use the backups of the place where it runs.",
        )
    rows = target_of(workspace, settings).status(lambda: None)
    row = next((row for row in rows if row.service == service), None)
    if row is None or row.state == "missing":
        raise ConfigError(
            f"{service} does not run in {stack}: its data are saved and put back while it runs",
            remedy=f"Deploy the stack first: `{how_to_deploy(stack)}`. It gets passwords of its own there.",
        )
    if row.state in STOPPED:
        raise SlipwayError(
            f"{service} is {row.state} in {stack}, so its data cannot be saved or put back"
            + f": {row.drift}" * bool(row.drift),
            remedy=f"`invoke logs {service} --stack {stack}` says why. Its data stay where they are.",
        )


def _settings_of(service: Service) -> BackupSettings:
    settings = service.settings.backup
    if settings is None or not settings.dump:
        raise ConfigError(
            f"{service.folder / 'service.toml'} has no [backup], so nobody knows how to save {service.name}'s data",
            remedy='Add it, such as: dump = ["pg_dump", "--format=custom", "app"] and '
            'restore = ["pg_restore", "--clean", "--if-exists", "--exit-on-error", "--dbname=app"].',
        )
    return settings


def _new_file(workspace: Workspace, stack: str, service: str) -> Path:
    return workspace.scratch / FOLDER / f"{service}-{stack}-{datetime.now(UTC):%Y%m%d-%H%M%S}.gz"


def _exec_command(workspace: Workspace, stack: str, service: str, command: Sequence[str]) -> list[str]:
    """Return `invoke exec` of a command, whose input and output are this process's to give and take."""
    invoke = [sys.executable, "-m", "slipway.tasks", str(workspace.root), "exec", service, "--stack", stack]
    return [*invoke, "--", *command]


def _save(argv: Sequence[str], file: Path, service: str, command: Sequence[str]) -> int:
    """Write a command's output into a compressed file; return how many bytes it was."""
    written = 0
    with _command(argv, service, command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as child:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
        with os.fdopen(descriptor, "wb") as raw:
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=COMPRESSION_LEVEL) as packed:
                while chunk := _stream(child.stdout).read(CHUNK_BYTES):
                    written += len(chunk)
                    packed.write(chunk)
            raw.flush()
            os.fsync(raw.fileno())
    if not written:
        raise SlipwayError(f"{service}: `{' '.join(command)}` wrote nothing", remedy="Correct `dump` in its [backup].")
    return written


def _check_file(
    workspace: Workspace, stack: str, service: str, settings: BackupSettings, file: Path, *, named: Path
) -> None:
    """Read a compressed file to its end, and have the service's own `check` read it, where it has one."""
    try:
        if settings.check:
            _feed(_exec_command(workspace, stack, service, settings.check), file, service, settings.check)
        else:
            for _ in _unpacked(file):
                pass
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ConfigError(f"{named} is damaged: {error}", remedy="Take another backup.") from error


def _feed(argv: Sequence[str], file: Path, service: str, command: Sequence[str]) -> None:
    """Give a compressed file's content to a command as its input."""
    with _command(argv, service, command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        sink = _stream(child.stdin)
        with suppress(BrokenPipeError):  # a command that has ended says why by its exit status
            for chunk in _unpacked(file):
                sink.write(chunk)
            sink.close()


def _unpacked(file: Path) -> Iterator[bytes]:
    is_empty = True
    with gzip.open(file, "rb") as packed:
        while chunk := packed.read(CHUNK_BYTES):
            is_empty = False
            yield chunk
    if is_empty:  # to gzip, no bytes are an archive too
        raise EOFError("it holds nothing")


@contextmanager
def _command(
    argv: Sequence[str], service: str, command: Sequence[str], *, stdin: int, stdout: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside a `with` block, and end it with the block.

    Raises:
        SlipwayError: it failed; its last lines are in the error.
    """
    child = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
    errors = Background(_stream(child.stderr).read)  # so that the command is never blocked by what it says
    try:
        yield child
        code = child.wait()
    except BaseException:
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(END_SECONDS)
        child.kill()
        raise
    finally:
        for stream in (child.stdin, child.stdout):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()
        child.wait()
    if code:
        said = errors.result() if errors.wait(END_SECONDS) else b""
        lines = mask(said.decode(errors="replace")).splitlines()
        raise SlipwayError(
            f"{service}: `{' '.join(command)}` ended with exit code {code}", detail="\n".join(lines[-TAIL_LINES:])
        )


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # it was asked for as a pipe
    return stream
