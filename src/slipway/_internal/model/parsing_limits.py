"""How much a text may hold that is read."""

from __future__ import annotations

MAX_DEPTH = 64
"""Levels that lists and tables may be in each other."""
MAX_NODES = 50_000
"""Values that a YAML text may have, those counted that its aliases stand for."""
