"""Slipway's verbs as Invoke tasks. Importing this stays cheap: every task imports what it needs when it runs."""

from __future__ import annotations

from invoke.collection import Collection
from invoke.tasks import Task

from slipway.tasks import cache, cluster, dev, gate, images, look, releases, reports, ship, words, workspace


def verbs() -> Collection:
    """Return a collection of every verb, for a workspace's tasks.py to add its own to."""
    words.allow()
    modules = (workspace, images, cache, gate, ship, dev, releases, look, reports, cluster)
    return Collection(*(task for module in modules for task in vars(module).values() if isinstance(task, Task)))
