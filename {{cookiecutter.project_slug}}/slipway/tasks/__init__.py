"""Slipway's verbs as Invoke tasks. Importing this stays cheap: every task imports what it needs when it runs."""

from __future__ import annotations

from invoke import Task

from slipway.tasks import images, look, ship, workspace


def verbs() -> list[Task]:
    """Return every verb, for a workspace's tasks.py to put beside its own."""
    return [
        task
        for module in (workspace, images, ship, look)
        for task in vars(module).values()
        if isinstance(task, Task)
    ]
