"""This workspace's commands: Slipway's verbs, and beside them your own. `invoke --list` shows them all."""

from __future__ import annotations

from slipway.tasks import verbs

namespace = verbs()

# Your own commands go here: a function with @task (from invoke), then namespace.add_task(it).
