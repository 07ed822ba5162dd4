"""Ends what Slipway started on this machine beside a workspace's containers: registry, builder, Docker engine."""

from __future__ import annotations

from slipway.flows.report import Report
from slipway.model.errors import SlipwayError
from slipway.model.workspace import Workspace
from slipway.run import engine as docker
from slipway.toolchain import background, daemons, engine


def stop(workspace: Workspace, report: Report) -> None:
    """End the daemons that Slipway started; their data stays. An engine on which others run containers stays up."""
    for name in daemons.stop(workspace):
        report.say(f"Stopped the {name}.")
    if background.running(engine.folder()) is None:
        return  # somebody else's engine
    others = running_for_others()
    if others is None:
        report.say("The Docker engine stays up: it does not answer, so nobody can tell what else it runs.")
    elif others:
        report.say(f"The Docker engine stays up: it also runs {', '.join(others)}.")
    elif engine.stop():
        report.say("Stopped the Docker engine. Its package and images stay.")


def running_for_others() -> list[str] | None:
    """Return the names of all containers that still run on the engine that Slipway started; None where it is silent.

    That one listens at the default address, wherever DOCKER_HOST leads at this moment.
    """
    try:
        with docker.speaking(engine.DEFAULT):
            return sorted(container.name for container in docker.client(engine.DEFAULT).containers.list())
    except SlipwayError:
        return None
