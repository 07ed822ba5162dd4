"""How fast Slipway is beside its rivals, measured in one run: `./run bench`."""

from __future__ import annotations

import sys
from pathlib import Path

# The engine is plain Python: the bench starts daemons by the product's own toolchain.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
