"""The verb that saves and loads cache mounts."""

from __future__ import annotations

from invoke.context import Context

from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.tasks.verb import verb


@verb(
    positional=["action"],
    help={
        "action": "save: write the services' cache mounts (pip's, npm's) into the folder; load: fill them from it.",
        "folder": "The folder that CI keeps. Default: .slipway/cache.",
    },
)
def cache(context: Context, action: str, folder: str = ".slipway/cache") -> None:
    """Save or load what pip and npm have downloaded, for CI."""
    from slipway._internal.build import cache_mounts
    from slipway._internal.build.environment import prepare_environment
    from slipway._internal.model.errors import ConfigError
    from slipway._internal.model.workspace import load_workspace
    from slipway._internal.tasks import show

    transfer = {"save": cache_mounts.save_caches, "load": cache_mounts.load_caches}.get(action)
    if transfer is None:
        raise ConfigError(f"unknown action {action!r}", remedy="Use save or load.")
    workspace = load_workspace(workspace_root())
    cache_folder = workspace_root() / folder
    if action == "load" and not any(cache_folder.glob("*.tar")):
        return show.say(f"{cache_folder} holds no cache: nothing to do.")
    with show.progress("Saving caches" if action == "save" else "Loading caches") as reporter:
        run_context = prepare_environment(workspace, reporter, building=True, preview=True)
        sizes = transfer(run_context, cache_folder, reporter)
    return show.table(("cache", "bytes"), [(name, str(size)) for name, size in sizes.items()])
