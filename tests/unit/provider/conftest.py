"""What tests of the provider stand on, as those of its containers do."""

from __future__ import annotations

from tests.unit.rollout.conftest import state

__all__ = ["state"]
