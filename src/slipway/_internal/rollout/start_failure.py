"""Explains why a container did not start: the reason, its last log lines, and a file with its whole log."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.files import open_private
from slipway._internal.model.full_disk import full_volume_remedy, is_disk_full
from slipway._internal.model.masking import mask, register_secret
from slipway._internal.model.terminal_text import LAST_LINES, sanitize_lines
from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.rollout.cancellation import Cancelled
from slipway._internal.run import engine

SHOWN_LOG_LINES = 20
"""How many last log lines the error shows: more than for a build step, as they may contain a traceback."""
MAX_LOG_LINES = 10_000
"""How many log lines are saved: a failed container may have written for days."""


def logs_folder() -> Path:
    """Return the folder for full logs: SLIPWAY_LOGS, or .slipway/logs in the workspace."""
    return Path(os.environ.get("SLIPWAY_LOGS") or workspace_root() / ".slipway" / "logs")


def explain_start_failure(
    service: str,
    container: Any,
    error: BaseException,
    secrets: Sequence[str] = (),
    volumes: Sequence[str] = (),
) -> BaseException:
    """Return the error for a failed container; save its log before it is removed.

    Args:
        service: the service's name.
        container: the failed container, or None if it was not created yet.
        error: the original error.
        secrets: values to mask in the log.
        volumes: the names of its data volumes.
    """
    cause = (engine.translate_error(error) if isinstance(error, Exception) else None) or error
    if isinstance(cause, Cancelled) or not isinstance(cause, SlipwayError):
        return cause
    for secret in secrets:
        register_secret(secret)
    text = _read_log(container) if container is not None else ""
    if volumes and is_disk_full(f"{cause.message}\n{cause.detail}\n{text}"):
        full = f"{cause.message}; {' or '.join(volumes)} is full"
        cause = SlipwayError(full, remedy=full_volume_remedy(volumes), detail=cause.detail)
    return error_with_log(service, cause, text, container.name if container is not None else "")


def error_with_log(service: str, cause: SlipwayError, text: str, name: str) -> SlipwayError:
    """Return the error for what failed of a service, with the last lines of its log; the log is saved under a name."""
    text = mask(text)
    detail = [cause.detail]
    if text.strip():
        detail += [f"{LAST_LINES} ({service}):", *(f"  {line}" for line in sanitize_lines(text)[-SHOWN_LOG_LINES:])]
    kind = ConfigError if isinstance(cause, ConfigError) else SlipwayError
    return kind(
        f"service {service} failed: {cause.message}",
        remedy=cause.remedy,
        detail="\n".join(part for part in detail if part),
        log=_save_log(name, text) if text.strip() else None,
    )


def _read_log(container: Any) -> str:
    try:
        return str(
            container.logs(stdout=True, stderr=True, timestamps=False, tail=MAX_LOG_LINES).decode(errors="replace")
        )
    except Exception as error:  # the reason for the failure matters more than its log
        return f"(the log can't be read: {error})"


def _save_log(name: str, text: str) -> Path | None:
    path = logs_folder() / f"{name}.log"
    try:
        with open_private(path, "w") as file:
            file.write(text)
    except OSError:
        return None
    return path


def error_to_text(error: SlipwayError) -> str:
    """Return an error's text for Pulumi to show; nothing parses it (`Provider.errors` has the error itself)."""
    log = f"full log: {error.log}" if error.log else ""
    remedy = f"remedy: {error.remedy}" if error.remedy else ""
    return "\n".join(part for part in (error.message, error.detail, log, remedy) if part)
