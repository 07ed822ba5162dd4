"""A generated workspace on real components, driven as its user would: by `invoke`, in its folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cookiecutter.main import cookiecutter
from tests.conftest import ROOT

UP_SECONDS = 1200.0
"""The first `invoke up` may have to build the base images; everything else is far quicker."""


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it printed on both streams."""

    code: int
    output: str


@dataclass
class Workspace:
    """One baked workspace; `environment` is added to every command's."""

    root: Path
    port: int
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Start an Invoke command in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", *words],
            cwd=self.root,
            env={**os.environ, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def invoke(self, *words: str, timeout: float = UP_SECONDS, **environment: str) -> Ran:
        """Run an Invoke command to its end."""
        child = self.start(*words, **environment)
        output, _ = child.communicate(timeout=timeout)
        return Ran(child.returncode, output)

    def up(self, *words: str) -> dict[str, Any]:
        """Run `invoke up --json`, which must succeed, and return what it says."""
        ran = self.invoke("up", "--json", *words)
        assert ran.code == 0, ran.output
        return dict(json.loads(ran.output[ran.output.index("{") :]))

    def get(self, path: str) -> tuple[int, str]:
        """Request a path from the gateway."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that stands in a file."""
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {path}"
        file.write_text(text.replace(old, new), encoding="utf-8")


def bake(folder: Path, **answers: Any) -> Path:
    """Generate a workspace with these answers and return its folder."""
    return Path(cookiecutter(str(ROOT), no_input=True, output_dir=str(folder), extra_context=answers))
