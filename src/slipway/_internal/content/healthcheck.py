"""A Dockerfile's HEALTHCHECK: the command that checks a container's health, and how often it runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from slipway._internal.content.dockerfile_parser import DockerfileError, Instruction

SHELL = ("/bin/sh", "-c")
DEFAULT_START_SECONDS = 60
"""How long a container may take to become healthy by default."""
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_FLAGS = {"interval", "timeout", "start-period", "start-interval", "retries"}


@dataclass(frozen=True)
class Healthcheck:
    """A health check, with Docker's own defaults; times in seconds. Without a command it is `HEALTHCHECK NONE`."""

    command: tuple[str, ...]
    interval: float = 30
    timeout: float = 30
    start_period: float = 0
    start_interval: float | None = None
    retries: int = 3

    def start_seconds(self, own: float | None = None) -> float:
        """Return how many seconds a container may take to get healthy.

        Args:
            own: what service.toml says; it counts, but failures within the start period do not. Without it, a container
                has as long as the check itself takes to call it unhealthy, and 60 s at least.
        """
        if own is not None:
            return max(own, self.start_period)
        return max(DEFAULT_START_SECONDS, self.start_period + self.retries * self.interval if self.command else 0)


def parse(instruction: Instruction) -> Healthcheck:
    """Parse a HEALTHCHECK.

    Raises:
        DockerfileError: BuildKit would not accept it either; the text names the line.
    """
    word, _, rest = instruction.rest.partition(" ")
    if word.upper() == "NONE" and not rest.strip():
        return Healthcheck(())
    if word.upper() != "CMD" or not rest.strip():
        raise DockerfileError(f"line {instruction.line}: HEALTHCHECK needs `CMD command` or `NONE`")
    if unknown := instruction.flags.keys() - _FLAGS:
        raise DockerfileError(f"line {instruction.line}: HEALTHCHECK has no flag --{min(unknown)}")
    flags = {name: values[-1] for name, values in instruction.flags.items()}
    try:
        times = _parse_durations(flags)
        retries = int(flags.get("retries", 0)) or Healthcheck.retries
    except ValueError as error:
        raise DockerfileError(f"line {instruction.line}: HEALTHCHECK: {error}") from error
    return Healthcheck(
        _parse_command(rest.strip()),
        interval=times.get("interval") or Healthcheck.interval,
        timeout=times.get("timeout") or Healthcheck.timeout,
        start_period=times.get("start-period") or Healthcheck.start_period,
        start_interval=times.get("start-interval") or None,
        retries=retries,
    )


def parse_duration(text: str) -> float:
    """Return a duration as Go writes it (`1m30s`, `1.5s`, `0`) in seconds; ValueError when it is none."""
    if text != "0" and not re.fullmatch(rf"(?:{_DURATION.pattern})+", text):
        raise ValueError(f"{text!r} is not a duration such as 5s or 1m30s")
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))


def _parse_durations(flags: Mapping[str, str]) -> dict[str, float]:
    return {name: parse_duration(text) for name, text in flags.items() if name != "retries"}


def _parse_command(text: str) -> tuple[str, ...]:
    """Return the exec form as it stands, and the shell form as the shell's."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, list) and found and all(isinstance(argument, str) for argument in found):
        return tuple(found)
    return (*SHELL, text)
