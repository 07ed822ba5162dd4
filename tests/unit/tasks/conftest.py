"""What tests of verbs stand on: a small workspace, and stand-ins for the flows that the verbs hand over to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

from slipway._internal.build import environment
from slipway._internal.context.run_context import RunContext
from slipway._internal.model.workspace import Workspace
from slipway._internal.model.workspace_path import use_workspace
from tests import synthetic

NAMES = ["service-000", "service-001"]
"""The workspace's services."""
DIGEST = "sha256:" + "a1" * 32
REF = f"127.0.0.1:1/many/service-000@{DIGEST}"


class Flows:
    """Puts stand-ins in the place of flows, and knows how they were called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.calls: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {}

    def replace(self, owner: Any, name: str, gives: Any = None) -> None:
        """Have a function give a value, raise an error, or do what another function does."""

        def stand_in(*args: Any, **options: Any) -> Any:
            self.calls.setdefault(name, []).append((args, options))
            if isinstance(gives, Exception):
                raise gives
            return gives(*args, **options) if callable(gives) else gives

        self._monkeypatch.setattr(owner, name, stand_in)

    def options(self, name: str) -> dict[str, Any]:
        """Return the options of the only call."""
        ((_, options),) = self.calls[name]
        return options

    def args(self, name: str) -> tuple[Any, ...]:
        """Return the arguments of the only call."""
        ((args, _),) = self.calls[name]
        return args

    def services(self, name: str, position: int = 1) -> list[str]:
        """Return the names of the services that the only call was given."""
        return [service.name for service in self.args(name)[position]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of two services with an open stack `dev` and protected ones `staging` and `prod`; nobody answers."""
    synthetic.workspace(tmp_path, len(NAMES))
    for stack in ("staging", "prod"):
        text = "config:\n  slipway:images: external\n  slipway:protected: true\n"
        (tmp_path / "infra" / f"Pulumi.{stack}.yaml").write_text(text, encoding="utf-8")
    monkeypatch.delenv("SLIPWAY_IMAGES", raising=False)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.chdir(tmp_path)
    use_workspace(tmp_path)
    return tmp_path


@pytest.fixture
def flows(root: Path, monkeypatch: pytest.MonkeyPatch) -> Flows:
    """Stand-ins; what prepares engine, tools and builder is replaced already."""
    stand_ins = Flows(monkeypatch)

    def prepare(workspace: Workspace, *_reporter: Any, **_options: Any) -> RunContext:
        return RunContext(workspace, workspace.scratch / "bin", {})

    stand_ins.replace(environment, "prepare_environment", prepare)
    stand_ins.replace(environment, "prepare_tools")
    return stand_ins


def ended_with(code: int, verb: Task[Any], *words: str, **options: Any) -> None:
    """Run a verb and see with which exit code it ends."""
    found = 0
    try:
        verb(Context(), *words, **options)
    except Exit as end:
        found = end.code
    assert found == code


def rows(text: str) -> list[tuple[str, ...]]:
    """Return a printed table's lines as words."""
    return [tuple(line.split()) for line in text.splitlines()]
