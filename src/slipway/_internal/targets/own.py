"""A team's own target: Slipway deploys to it, but cannot see what runs there."""
# ruff: noqa: ARG002 - the signatures are those of DeploymentTarget

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from slipway._internal.context.reporter import Reporter
from slipway._internal.insight.run_recorder import Recorder
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.own_targets import own_target_file
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace
from slipway._internal.targets.status import ServiceStatus
from slipway._internal.targets.target import DataVolume, Redeploy

NOT_OBSERVED = "not observed"
"""The health of a service that only its target's own tools can see."""


@dataclass(frozen=True)
class OwnTarget:
    """A stack on a team's own target, in infra/targets/NAME.py. Slipway knows only what Pulumi reports."""

    workspace: Workspace
    stack: Stack

    def refuse_foreign_objects(self, known_ids: Callable[[], Collection[str]]) -> None:
        """Do nothing: only the target's own provider knows who owns its objects."""

    def status(self, live_images: Callable[[], Mapping[str, str] | None]) -> Sequence[ServiceStatus]:
        """Raise ConfigError: what runs cannot be seen from here."""
        raise self._unseen_error("what runs")

    def logs(self, service: str, *, follow: bool, tail: int) -> Iterator[str]:
        """Raise ConfigError: logs cannot be read from here."""
        raise self._unseen_error(f"the log of {service}")

    def exec_command(self, service: str, command: Sequence[str]) -> int:
        """Raise ConfigError: where it runs cannot be reached from here."""
        raise self._unseen_error(f"where {service} runs")

    def run_command(self, service: str, command: Sequence[str]) -> int:
        """Raise ConfigError, as `exec_command` does."""
        raise self._unseen_error(f"where {service} runs")

    def data_volumes(self) -> Sequence[DataVolume]:
        return ()

    def remove_data_volume(self, volume: DataVolume) -> None:
        """Do nothing: there are none that Slipway knows."""

    def running_images(self) -> list[tuple[str, str]]:
        return []

    def running_digests(self) -> dict[str, str]:
        return {}

    def service_health(self, services: Collection[str]) -> dict[str, str]:
        return dict.fromkeys(services, NOT_OBSERVED)

    def drifted_services(self, live_images: Callable[[], Mapping[str, str]]) -> list[str]:
        return []

    def record_starts(self, recorder: Recorder) -> None:
        """Do nothing: Slipway cannot see the parts of a start."""

    def remove_orphans(self, known_ids: Collection[str]) -> None:
        """Do nothing: Pulumi's refresh has done it."""

    def may_adopt_existing(self) -> bool:
        """Return False: the team decides what Pulumi does with existing objects."""
        return False

    def report_progress(self, reporter: Reporter, rolling: Collection[str]) -> AbstractContextManager[None]:
        return nullcontext()

    def unfinished_rollouts(self) -> list[str]:
        return []

    def remove_superseded(self, reporter: Reporter, known_ids: Callable[[], Collection[str] | None]) -> None:
        """Do nothing: Pulumi removes what a deploy replaces."""

    def remove_abandoned(self, reporter: Reporter, consent: Callable[[str], bool]) -> int:
        raise self._unseen_error("what another folder left there")

    def wait_deleted(self, reporter: Reporter) -> None:
        """Do nothing: Pulumi waits as long as the target's provider does."""

    def explain_failure(
        self,
        error: SlipwayError,
        failed_services: Collection[str],
        live_images: Callable[[], Mapping[str, str]],
        redeploy: Redeploy,
    ) -> SlipwayError:
        return error

    def _unseen_error(self, what: str) -> ConfigError:
        file = own_target_file(self.workspace.root, self.stack.target)
        return ConfigError(
            f"`{self.stack.name}` runs on your own target {self.stack.target} ({file}): Slipway cannot see {what}",
            remedy=f"Use the target's own tools. `invoke releases --stack {self.stack.name}` lists what was deployed.",
        )
