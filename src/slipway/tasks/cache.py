"""The verb that carries cache mounts in and out of the builder."""

from __future__ import annotations

from invoke.context import Context

from slipway.model.location import workspace_root
from slipway.tasks.verb import verb


@verb(
    positional=["action"],
    help={
        "action": "save: write the services' cache mounts (pip's, npm's) into the folder; load: fill them from it.",
        "folder": "The folder that CI keeps. Default: .slipway/cache.",
    },
)
def cache(context: Context, action: str, folder: str = ".slipway/cache") -> None:
    """Save or load what pip and npm have downloaded, for CI."""
    from slipway.flows import mounts
    from slipway.flows.ground import ground
    from slipway.model.errors import ConfigError
    from slipway.model.workspace import load
    from slipway.tasks import show

    work = {"save": mounts.save, "load": mounts.load}.get(action)
    if work is None:
        raise ConfigError(f"{action!r} is nothing to do with a cache", remedy="One of: save, load.")
    workspace = load(workspace_root())
    place = workspace_root() / folder
    if action == "load" and not any(place.glob("*.tar")):
        return show.say(f"{place} holds no cache: nothing to do.")
    with show.progress("Saving caches" if action == "save" else "Loading caches") as report:
        here = ground(workspace, report, building=True)
        done = work(here, place, report)
    return show.table(("cache", "bytes"), [(name, str(size)) for name, size in done.items()])
