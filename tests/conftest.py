"""Puts the template's own code on the path: it is plain Python, so it is tested where it stands."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"

# A shell has what it runs in the background ignore Ctrl-C, and that is handed on to all programs that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

sys.dont_write_bytecode = True
sys.path[:0] = [str(TEMPLATE), str(ROOT)]
