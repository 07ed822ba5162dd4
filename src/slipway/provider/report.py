"""Says why a container did not come up: the reason, its last lines, and a file with all it wrote."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slipway.model.errors import SlipwayError
from slipway.model.files import open_private
from slipway.model.location import workspace_root
from slipway.model.masking import keep_secret, mask
from slipway.model.visible import visible_lines
from slipway.provider.kind import Cancelled
from slipway.run import engine

TAIL = 20
KEPT_LINES = 10_000
"""Lines of a container's log that are saved: one that failed may have written for days."""
_LOG, _REMEDY = "full log: ", "remedy: "


def log_folder() -> Path:
    """Return where full logs go: SLIPWAY_LOGS, else .slipway/logs of the workspace."""
    return Path(os.environ.get("SLIPWAY_LOGS") or workspace_root() / ".slipway" / "logs")


def failure(service: str, container: Any, error: BaseException, secrets: Sequence[str] = ()) -> BaseException:
    """Return what to tell the user about a container that failed; its log is saved before it is removed.

    Args:
        service: the service's name.
        container: the failed container, or None when there was none yet.
        error: what went wrong.
        secrets: values to strike out, should the program have written them to its log.
    """
    told = (engine.explain(error) if isinstance(error, Exception) else None) or error
    if isinstance(told, Cancelled) or not isinstance(told, SlipwayError):
        return told
    for secret in secrets:
        keep_secret(secret)
    text = mask(_log(container)) if container is not None else ""
    detail = [told.detail]
    if text.strip():
        detail += [f"its last lines ({service}):", *(f"  {line}" for line in visible_lines(text)[-TAIL:])]
    return SlipwayError(
        f"service {service} failed: {told.what}",
        remedy=told.remedy,
        detail="\n".join(part for part in detail if part),
        log=_save(container.name, text) if text.strip() else None,
    )


def _log(container: Any) -> str:
    try:
        return str(container.logs(stdout=True, stderr=True, timestamps=False, tail=KEPT_LINES).decode(errors="replace"))
    except Exception as error:  # the reason for the failure matters more than its log
        return f"(the log can't be read: {error})"


def _save(name: str, text: str) -> Path | None:
    path = log_folder() / f"{name}.log"
    try:
        with open_private(path, "w") as file:
            file.write(text)
    except OSError:
        return None
    return path


def as_text(error: SlipwayError) -> str:
    """Return an error as Pulumi is to show it."""
    log = f"{_LOG}{error.log}" if error.log else ""
    remedy = f"{_REMEDY}{error.remedy}" if error.remedy else ""
    return "\n".join(part for part in (error.what, error.detail, log, remedy) if part)


def from_text(text: str) -> SlipwayError:
    """Return the error that `as_text` made a text of."""
    what, *lines = text.splitlines()
    remedy = lines.pop().removeprefix(_REMEDY) if lines and lines[-1].startswith(_REMEDY) else ""
    log = Path(lines.pop().removeprefix(_LOG)) if lines and lines[-1].startswith(_LOG) else None
    return SlipwayError(what, remedy=remedy, detail="\n".join(lines), log=log)
