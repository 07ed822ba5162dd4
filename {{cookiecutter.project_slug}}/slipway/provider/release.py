"""`slipway:index:Release`: the record of what was deployed when, by whom, from which commit; newest first."""

# ruff: noqa: ARG002 - not every kind needs all that it is told

from __future__ import annotations

import getpass
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slipway.model.errors import SlipwayError
from slipway.provider.kind import Diff, Kind, Real, State, Stop, changed_keys
from slipway.provider.values import Props
from slipway.run.process import run

KEPT = 20
ROOT = Path(__file__).resolve().parents[2]


class Release(Kind):
    """The stack's last releases. A new one begins when a digest or the mode changes."""

    required = ("mode", "digests")
    defaults = {"services": []}
    computed = ("releases",)

    def diff(self, old: State, news: Props) -> Diff:
        return Diff(changed_keys(old.inputs, news, ("mode", "digests")))

    def kept(self, old: State) -> Props:
        return {}

    def create(self, urn: str, inputs: Props, stop: Stop) -> Real:
        first = entry(inputs["mode"], inputs["digests"])
        return Real(first["id"], {**self.public(inputs), "releases": [first]})

    def update(self, old: State, news: Props, stop: Stop) -> Props:
        earlier = old.outputs.get("releases") or []
        return {**self.public(news), "releases": [entry(news["mode"], news["digests"]), *earlier][:KEPT]}


def entry(mode: str, digests: dict[str, str]) -> dict[str, Any]:
    """Return the record of a release that happens now."""
    now = datetime.now(UTC)
    return {
        "id": f"r-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        "time": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "actor": _git("config", "user.name") or _user(),
        "commit": _git("rev-parse", "--verify", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
        "mode": mode,
        "digests": digests,
    }


def _git(*words: str) -> str:
    """Return what git says about the workspace; nothing where there is no git, or no commit."""
    try:
        result = run(["git", "-C", ROOT, *words], timeout=20)
    except SlipwayError:
        return ""
    return result.output.strip() if result.code == 0 else ""


def _user() -> str:
    try:
        return os.environ.get("USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        return str(os.getuid())
