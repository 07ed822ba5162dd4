"""Ends what Slipway started on this machine beside a workspace's containers: registry, builder, Docker engine."""

from __future__ import annotations

from slipway._internal.context.reporter import Reporter
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Workspace
from slipway._internal.run import engine as docker
from slipway._internal.toolchain import background, daemons, docker_daemon


def stop_daemons(workspace: Workspace, reporter: Reporter) -> None:
    """End the daemons that Slipway started; their data stays. An engine on which others run containers stays up."""
    for name in daemons.stop_daemons(workspace):
        reporter.say(f"Stopped the {name}.")
    if background.find_running(docker_daemon.state_folder()) is None:
        return  # somebody else's engine
    others = foreign_containers()
    if others is None:
        reporter.say("The Docker engine stays up: it does not answer, so what else it runs is unknown.")
    elif others:
        reporter.say(f"The Docker engine stays up: it also runs {', '.join(others)}.")
    elif docker_daemon.stop_engine():
        reporter.say("Stopped the Docker engine. Its package and images stay.")


def foreign_containers() -> list[str] | None:
    """Return the names of all containers that still run on the engine that Slipway started; None where it is silent.

    That one listens at the default address, wherever DOCKER_HOST leads at this moment.
    """
    try:
        with docker.docker_errors(docker_daemon.DEFAULT_ADDRESS):
            return sorted(
                container.name for container in docker.client(docker_daemon.DEFAULT_ADDRESS).containers.list()
            )
    except SlipwayError:
        return None
