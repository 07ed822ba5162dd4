"""This workspace's checks: `nox` runs lint and the services' tests; `nox -s images e2e` also needs an engine."""

from __future__ import annotations

import os
from pathlib import Path

import nox

ROOT = Path(__file__).parent
SERVICES = sorted(path.parent for path in ROOT.glob("services/*/service.toml"))

# `invoke` makes .venv; the programs in it come first.
os.environ["PATH"] = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "model"]


@nox.session
def lint(session: nox.Session) -> None:
    """Check Python and Dockerfiles where they stand."""
    session.run("ruff", "check", ".")
    session.run("hadolint", *(str(path) for path in sorted(ROOT.glob("*/*/Dockerfile"))))


@nox.session
def model(session: nox.Session) -> None:
    """Read the whole workspace as Slipway does: every key, route, port, lib and stack."""
    session.run("python", "-m", "slipway.check")


@nox.session
def images(session: nox.Session) -> None:
    """Build every service's `test` stage, which runs its tests in the environment that it ships in."""
    session.run("invoke", "test")


@nox.session
def e2e(session: nox.Session) -> None:
    """Deploy the dev stack and ask every URL."""
    session.run("invoke", "up", "--yes")
