"""A team's own target as Slipway sees it: it deploys there, and cannot look at what runs."""
# ruff: noqa: ARG002 - the shape is that of DeploymentTarget

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
from slipway._internal.targets.target import Redeploy

NOT_OBSERVED = "not observed"
"""What is said of the health of a service that only its target's own tools can see."""


@dataclass(frozen=True)
class OwnTarget:
    """A stack on a target of the team's own, in infra/targets/NAME.py. Pulumi's word is all that is known of it."""

    workspace: Workspace
    stack: Stack

    def refuse_foreign_objects(self, known_ids: Callable[[], Collection[str]]) -> None:
        """Do nothing: whose objects there are, only the target's own provider knows."""

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

    def running_images(self) -> list[tuple[str, str]]:
        return []

    def running_digests(self) -> dict[str, str]:
        return {}

    def service_health(self, services: Collection[str]) -> dict[str, str]:
        return dict.fromkeys(services, NOT_OBSERVED)

    def drifted_services(self, live_images: Callable[[], Mapping[str, str]]) -> list[str]:
        return []

    def record_starts(self, recorder: Recorder) -> None:
        """Do nothing: what a start was made of cannot be seen from here."""

    def remove_orphans(self, known_ids: Collection[str]) -> None:
        """Do nothing: Pulumi's own refresh has looked."""

    def may_adopt_existing(self) -> bool:
        """No: what Pulumi makes of what is there already is the team's affair."""
        return False

    def report_progress(self, reporter: Reporter, rolling: Collection[str]) -> AbstractContextManager[None]:
        return nullcontext()

    def unfinished_rollouts(self) -> list[str]:
        return []

    def remove_superseded(self, reporter: Reporter, known_ids: Callable[[], Collection[str] | None]) -> None:
        """Do nothing: what a deploy replaces, Pulumi removes."""

    def remove_abandoned(self, reporter: Reporter, consent: Callable[[str], bool]) -> int:
        raise self._unseen_error("what another folder has left")

    def wait_deleted(self, reporter: Reporter) -> None:
        """Do nothing: Pulumi has waited as long as the target's provider does."""

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
            remedy=f"Ask the target's own tools. `invoke releases --stack {self.stack.name}` says what was deployed.",
        )
