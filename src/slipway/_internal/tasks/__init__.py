"""Slipway's verbs as Invoke tasks. Importing this stays cheap: every task imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path

from invoke.collection import Collection
from invoke.tasks import Task

from slipway._internal.model.workspace_path import use_workspace
from slipway._internal.run import streams
from slipway._internal.tasks import (
    cache,
    cluster,
    dev,
    gate,
    images,
    look,
    optional_words,
    releases,
    reports,
    ship,
    update,
    workspace,
)


def verbs(root: Path) -> Collection:
    """Return a collection of every verb, for the tasks.py of the workspace in the folder `root` to add its own to."""
    use_workspace(root)
    streams.secure_streams()  # Invoke itself prints, too
    optional_words.allow_optional_words()
    modules = (workspace, update, images, cache, gate, ship, dev, releases, look, reports, cluster)
    return Collection(*(task for module in modules for task in vars(module).values() if isinstance(task, Task)))
