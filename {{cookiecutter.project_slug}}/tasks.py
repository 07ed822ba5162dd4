"""This workspace's commands: Slipway's verbs, and beside them your own. `invoke --list` shows them all."""

from __future__ import annotations

from pathlib import Path

from slipway.tasks import verbs

namespace = verbs(Path(__file__).resolve().parent)

# Your own commands go here: a function with @task (from invoke), then namespace.add_task(it).
