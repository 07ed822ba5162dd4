"""Slipway's verbs as Invoke tasks. Importing this stays cheap: every task imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path

from invoke.collection import Collection

from slipway._internal.model.workspace_path import use_workspace
from slipway._internal.run import streams
from slipway._internal.tasks import (
    adopt,
    ai,
    cache,
    canary,
    certificate,
    cluster,
    commands,
    consumer,
    dev,
    gate,
    images,
    look,
    maintenance,
    releases,
    reports,
    ship,
    update,
    workspace,
)
from slipway._internal.tasks.optional_words import OptionalWordsTask


def verbs(root: Path) -> Collection:
    """Return a collection of every verb, for the tasks.py of the workspace in the folder `root` to add its own to."""
    use_workspace(root)
    streams.secure_streams()  # Invoke itself prints, too
    own_kinds = sorted(file.parent.name for file in (root / "kinds").glob("*/service.toml"))
    workspace.new.help["kind"] = workspace.KIND_HELP + (", ".join(own_kinds) or "none yet")
    modules = (
        workspace,
        adopt,
        update,
        images,
        cache,
        gate,
        ship,
        dev,
        releases,
        look,
        consumer,
        canary,
        certificate,
        maintenance,
        ai,
        commands,
        reports,
        cluster,
    )
    tasks = [task for module in modules for task in vars(module).values() if isinstance(task, OptionalWordsTask)]
    namespace = Collection(*tasks)
    for task in tasks:
        task.namespace = lambda: namespace  # with what tasks.py will have added to it
    return namespace
