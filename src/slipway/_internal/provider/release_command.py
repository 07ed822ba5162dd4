"""A service's release command, run once for each new image before it serves: `slipway:docker:ReleaseCommand` and
`slipway:kubernetes:ReleaseCommand`.

What it has run for is an output, so neither a new environment nor an earlier image that comes back runs it again.
"""

# ruff: noqa: ARG002 - not every handler needs every argument

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from slipway._internal.model import stack as stacks
from slipway._internal.model.workspace import load_workspace
from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.provider.container import ContainerHandler
from slipway._internal.provider.handler import ActualState, Diff, ResourceHandler, ResourceState
from slipway._internal.provider.values import Props
from slipway._internal.rollout import release_command, release_job
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.container import ContainerSpec
from slipway._internal.rollout.ownership import refuse_foreign_objects
from slipway._internal.run.cluster import cluster_of

MAX_RUNS = 100
"""How many images are remembered that the command has run for."""
NOT_A_CONTAINERS = ("release", "rollsBack")
NOT_A_COMMANDS = ("port", "group", "canary", "healthTimeout", "drainSeconds")


class ReleaseCommandHandler(ResourceHandler):
    """A command that runs to its end when the image, or the command itself, is one that it has not run for.

    With the input `rollsBack` it does not run: earlier images come back.
    """

    computed = ("runs",)

    def validate_inputs(self, inputs: Props) -> list[tuple[str, str]]:
        return [] if inputs["release"] else [("release", "names no program")]

    def diff(self, old: ResourceState, news: Props) -> Diff:
        runs: list[Mapping[str, Any]] = old.outputs.get("runs") or []
        commands = [run["command"] for run in runs if run["digest"] == _digest(news)]
        if news.get("rollsBack") or news["release"] in commands:
            return Diff()
        return Diff(["release" if commands else "image"])

    def unchanged_outputs(self, old: ResourceState) -> Props:
        return {}

    def create(self, urn: str, inputs: Props, cancellation: CancellationToken) -> ActualState:
        return ActualState(f"{inputs['service']}-release", self._outputs(urn, inputs, {}, cancellation))

    def update(self, old: ResourceState, news: Props, cancellation: CancellationToken) -> Props:
        return self._outputs(old.urn, news, old.outputs, cancellation)

    def _outputs(self, urn: str, inputs: Props, old: Props, cancellation: CancellationToken) -> Props:
        runs = list(old.get("runs") or [])
        if not inputs.get("rollsBack"):
            self.run(urn, inputs, cancellation)
            run = {"digest": _digest(inputs), "command": inputs["release"], "time": f"{datetime.now(UTC):%FT%TZ}"}
            runs = [run, *runs][:MAX_RUNS]
        return {**self.public_inputs(inputs), "runs": runs}

    @abstractmethod
    def run(self, urn: str, inputs: Props, cancellation: CancellationToken) -> None:
        """Run the command to its end; raise SlipwayError if it fails."""


class DockerReleaseCommandHandler(ReleaseCommandHandler):
    """A release command in a container of its own, made from what the service's container is made from."""

    required = (*ContainerHandler.required, "release")
    optional = tuple(key for key in ContainerHandler.optional if key not in NOT_A_COMMANDS)
    defaults: ClassVar[Mapping[str, Any]] = {
        "rollsBack": False,
        **{key: value for key, value in ContainerHandler.defaults.items() if key not in NOT_A_COMMANDS},
    }
    secret = ContainerHandler.secret

    def validate_inputs(self, inputs: Props) -> list[tuple[str, str]]:
        return [*ContainerHandler().validate_inputs(inputs), *super().validate_inputs(inputs)]

    def run(self, urn: str, inputs: Props, cancellation: CancellationToken) -> None:
        spec = ContainerSpec.from_inputs({key: value for key, value in inputs.items() if key not in NOT_A_CONTAINERS})
        refuse_foreign_objects(spec.workspace, spec.stack, urn)
        release_command.run_release_command(spec, inputs["release"], urn, cancellation)


class KubernetesReleaseCommandHandler(ReleaseCommandHandler):
    """A release command in a Job of the stack's cluster; `job` is the Job without a name."""

    required = ("service", "stack", "image", "job", "release")
    defaults: ClassVar[Mapping[str, Any]] = {"rollsBack": False}

    def run(self, urn: str, inputs: Props, cancellation: CancellationToken) -> None:
        workspace = load_workspace(workspace_root())
        stack = stacks.load(workspace.root, inputs["stack"], {})
        release_job.run_release_job(cluster_of(workspace, stack), inputs["service"], inputs["job"], cancellation)


def _digest(inputs: Props) -> str:
    """Return an image's digest, which is the image in whatever repository it is."""
    return str(inputs.get("image", "")).partition("@")[2]
