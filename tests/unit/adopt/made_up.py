"""Workspaces and Compose projects of tests: what Docker Compose would make of a file is written beside it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from slipway._internal.adopt.compose import plan_compose
from slipway._internal.adopt.compose_file import ComposeFile
from slipway._internal.adopt.compose_reader import read_compose
from slipway._internal.adopt.pins import Pins, full_name
from slipway._internal.adopt.plan import Plan, Row
from slipway._internal.model.workspace import Workspace, load_workspace

DIGEST = "sha256:" + "a1" * 32
OWN_BASE = f"docker.io/library/python:3.13-slim@{DIGEST}"
BASES = ("python-build", "python-run", "node-build", "node-run")
DOCKERFILE = "FROM python:3.12 AS run\nEXPOSE 8000\nUSER 1000\n"


def make_workspace(root: Path, *bases_more: str) -> Workspace:
    """Write a workspace without services, whose bases are a Python's; more of them may be named."""
    root.mkdir(parents=True, exist_ok=True)
    bases = "".join(f'{name} = "{OWN_BASE}"\n' for name in (*BASES, *bases_more))
    text = f'name = "demo"\nregistry = "127.0.0.1:5000"\n[bases.official]\n{bases}'
    (root / "workspace.toml").write_text(text, encoding="utf-8")
    (root / ".slipway").mkdir(exist_ok=True)
    return load_workspace(root)


def write(folder: Path, **files: str) -> Path:
    """Write files; `__` in a name is a slash, `_dot_` a dot."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


def pins(*images: str) -> Pins:
    """Return digests for these images, and for the Python and nginx of most tests; nobody is asked for others."""
    return Pins({full_name(image): DIGEST for image in ("python:3.12", "nginx", *images)})


def compose_program(folder: Path, project: dict[str, Any], *, code: int = 0, errors: str = "") -> Path:
    """Return a program that says what Docker Compose would make of a file, and writes down how it was called."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "project.json").write_text(json.dumps(project), encoding="utf-8")
    (folder / "errors").write_text(errors, encoding="utf-8")
    program = folder / "docker-compose"
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/argv\nenv > {folder}/env\ncat {folder}/errors >&2\n'
        f"cat {folder}/project.json\nexit {code}\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return program


def read(folder: Path, text: str, project: dict[str, Any]) -> ComposeFile:
    """Return a Compose file of a text, and what Docker Compose makes of it."""
    write(folder, compose_dot_yaml=text)
    return read_compose(folder / "compose.yaml", compose_program(folder / ".tool", project))


def plan(
    folder: Path,
    text: str,
    services: dict[str, Any],
    *images: str,
    skip: frozenset[str] = frozenset(),
    route: str | None = None,
    **tables: Any,
) -> Plan:
    """Return the plan for a Compose file in a folder, for a workspace beside it."""
    compose = read(folder, text, {"name": "shop", "services": services, **tables})
    workspace = make_workspace(folder.parent / "workspace")
    return plan_compose(workspace, compose, pins(*images), route=route, skip=skip)


def found(made: Plan, key: str, fate: str | None = None) -> Row:
    """Return the only row about a key."""
    (row,) = [row for row in made.all_rows() if row.key == key and fate in (None, row.fate)]
    return row
