"""The interface of a target: a Docker engine, a Kubernetes cluster, or a team's own target."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from slipway._internal.context.reporter import Reporter
from slipway._internal.insight.run_recorder import Recorder
from slipway._internal.model.errors import SlipwayError
from slipway._internal.targets.status import ServiceStatus


@dataclass(frozen=True)
class DataVolume:
    """A volume that holds a service's data, by its name on the target."""

    name: str
    service: str


Redeploy = Callable[[Mapping[str, str]], None]
"""Deploys again with these images (service → image) instead of those that the stack's mode selects."""


class DeploymentTarget(Protocol):
    """One stack on its target. Every method may raise a SlipwayError if the target does not answer."""

    def refuse_foreign_objects(self, known_ids: Callable[[], Collection[str]]) -> None:
        """Raise ConfigError if another folder deployed the stack's objects, before anything is created or removed.

        Args:
            known_ids: returns the ids in the stack's state; it is called only in case of doubt.
        """

    def status(self, live_images: Callable[[], Mapping[str, str] | None]) -> Sequence[ServiceStatus]:
        """Return the status of each service, also of those no longer in the workspace; empty if nothing runs.

        Args:
            live_images: returns the live release's images; None if they are unknown.
        """

    def logs(self, service: str, *, follow: bool, tail: int) -> Iterator[str]:
        """Yield the last lines of a service's log, and with `follow` new ones; ConfigError if it does not run."""

    def exec_command(self, service: str, command: Sequence[str]) -> int:
        """Run a command where a service runs, joined to the standard streams; return its exit status.

        Raises:
            ConfigError: the service does not run.
        """

    def run_command(self, service: str, command: Sequence[str]) -> int:
        """Run a command beside a service, in a place of its own: the same image, network, environment and secrets.

        It is joined to the standard streams, and nothing of it is left; its exit status is returned.

        Raises:
            ConfigError: the service does not run.
        """

    def data_volumes(self) -> Sequence[DataVolume]:
        """Return the volumes that hold data of the stack's services, whether or not these run."""

    def remove_data_volume(self, volume: DataVolume) -> None:
        """Remove a volume that no container uses, with its data."""

    def running_images(self) -> list[tuple[str, str]]:
        """Return what runs: names and images."""

    def running_digests(self) -> dict[str, str]:
        """Return the digest of each running service."""

    def service_health(self, services: Collection[str]) -> dict[str, str]:
        """Return each service's health in a word, or why it has none."""

    def drifted_services(self, live_images: Callable[[], Mapping[str, str]]) -> list[str]:
        """Return the services that were changed outside Pulumi, so that it must refresh its state.

        Args:
            live_images: returns the live release's images.
        """

    def record_starts(self, recorder: Recorder) -> None:
        """Split a deploy's starts into their parts in the run record."""

    def remove_orphans(self, known_ids: Collection[str]) -> None:
        """Remove what an interrupted deploy left and Pulumi, which knows only `known_ids`, will not remove."""

    def may_adopt_existing(self) -> bool:
        """Return whether Pulumi should adopt what an interrupted deploy created but did not record."""

    def report_progress(self, reporter: Reporter, rolling: Collection[str]) -> AbstractContextManager[None]:
        """Report the progress of the services in `rolling`, which may change, inside a `with` block."""

    def unfinished_rollouts(self) -> list[str]:
        """Wait until the rollouts have really ended, and return the services whose rollout did not succeed."""

    def remove_superseded(self, reporter: Reporter, known_ids: Callable[[], Collection[str] | None]) -> None:
        """After a deploy, remove what it replaced, and this folder's objects that are not in the state.

        Args:
            reporter: receives unexpected removals.
            known_ids: returns the ids now in the state, or None if it cannot be read.
        """

    def remove_abandoned(self, reporter: Reporter, consent: Callable[[str], bool]) -> int:
        """Remove what a deleted folder left of the stack; return how many objects were removed.

        Raises:
            ConfigError: that folder still exists, or this cannot be determined and nobody consented.
        """

    def wait_deleted(self, reporter: Reporter) -> None:
        """Wait until everything that was removed is gone."""

    def explain_failure(
        self,
        error: SlipwayError,
        failed_services: Collection[str],
        live_images: Callable[[], Mapping[str, str]],
        redeploy: Redeploy,
    ) -> SlipwayError:
        """Return the error that says why a deploy failed, after rolling back what can be rolled back.

        Args:
            error: Pulumi's error.
            failed_services: the services that failed.
            live_images: returns the live release's images.
            redeploy: deploys again.
        """
