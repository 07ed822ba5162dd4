"""The errors that users see: each says what is wrong, what to do about it, and has an exit code."""

from __future__ import annotations

from pathlib import Path

from slipway._internal.model.masking import mask


class SlipwayError(Exception):
    """The work failed (exit code 1), and base of every error that a user sees.

    Args:
        message: one sentence: what is wrong, naming the file, key, service or address.
        remedy: what the user should do next; a command where there is one.
        detail: further lines to show as they are (a log's last lines, a list of differences).
        log: the file with the full output, where there is one.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "", detail: str = "", log: Path | None = None) -> None:
        self.message, self.remedy, self.detail = mask(message), mask(remedy), mask(detail)
        super().__init__(self.message)
        self.log = log


class ConfigError(SlipwayError):
    """The command or a configuration file is wrong."""

    exit_code = 2


class GateRefused(SlipwayError):
    """A gate step failed, or could not run."""

    exit_code = 3


class EvidenceError(SlipwayError):
    """A lock or its evidence is missing, stale or does not match."""

    exit_code = 4


class StackBusy(SlipwayError):
    """Someone else is deploying this stack at this moment."""

    exit_code = 5
