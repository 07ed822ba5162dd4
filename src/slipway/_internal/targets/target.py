"""Where a stack's services run, as a deploy asks it: a Docker engine, a Kubernetes cluster, or a team's own target."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from slipway._internal.context.reporter import Reporter
from slipway._internal.insight.run_recorder import Recorder
from slipway._internal.model.errors import SlipwayError
from slipway._internal.targets.status import ServiceStatus

Redeploy = Callable[[Mapping[str, str]], None]
"""Deploys once more, with these images (service → image) in the place of those that the stack's mode says."""


class DeploymentTarget(Protocol):
    """One stack, where it runs. Whatever is asked, a SlipwayError says that the place does not answer."""

    def refuse_foreign_objects(self, known_ids: Callable[[], Collection[str]]) -> None:
        """Raise ConfigError where the stack's objects are another folder's, before anything is made or removed.

        Args:
            known_ids: returns the ids that the stack's state knows; it is called only where something is in doubt.
        """

    def status(self, live_images: Callable[[], Mapping[str, str] | None]) -> Sequence[ServiceStatus]:
        """Return a line for each service, and one for each that is no service any more; none where nothing runs.

        Args:
            live_images: returns the images of the release that is live; None where nobody knows.
        """

    def logs(self, service: str, *, follow: bool, tail: int) -> Iterator[str]:
        """Yield the last lines of a service's log, and with `follow` those that come; ConfigError: it does not run."""

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

    def running_images(self) -> list[tuple[str, str]]:
        """Return what runs: the name of a thing, and its image."""

    def running_digests(self) -> dict[str, str]:
        """Return the digest of each service that runs."""

    def service_health(self, services: Collection[str]) -> dict[str, str]:
        """Return the health of services, in a word, or why they have none."""

    def drifted_services(self, live_images: Callable[[], Mapping[str, str]]) -> list[str]:
        """Return the services that somebody has changed behind Pulumi's back, so that it has to read them anew.

        Args:
            live_images: returns the images of the release that is live.
        """

    def record_starts(self, recorder: Recorder) -> None:
        """Have the record tell what the starts of a deploy were made of."""

    def remove_orphans(self, known_ids: Collection[str]) -> None:
        """Remove what an interrupted deploy has left that Pulumi, which knows these ids, will not."""

    def may_adopt_existing(self) -> bool:
        """Whether Pulumi is to take over what an interrupted deploy has made and its state lacks."""

    def report_progress(self, reporter: Reporter, rolling: Collection[str]) -> AbstractContextManager[None]:
        """Tell the report, for the time of a `with`, how far the services in `rolling` are, which may change."""

    def unfinished_rollouts(self) -> list[str]:
        """Wait for the end of what Pulumi calls done, and return the services whose rollout has not ended well."""

    def remove_superseded(self, reporter: Reporter, known_ids: Callable[[], Collection[str] | None]) -> None:
        """After a deploy: remove what it took the place of, and what is this folder's but in no state.

        Args:
            reporter: told what goes that nobody expects to.
            known_ids: returns the ids that the state knows now, or None where it cannot be read.
        """

    def remove_abandoned(self, reporter: Reporter, consent: Callable[[str], bool]) -> int:
        """Remove what a folder that is gone has left of the stack; return how many things that was.

        Raises:
            ConfigError: that folder is not gone, or nobody can tell and nobody said yes.
        """

    def wait_deleted(self, reporter: Reporter) -> None:
        """After everything was removed: see that it is gone."""

    def explain_failure(
        self,
        error: SlipwayError,
        failed_services: Collection[str],
        live_images: Callable[[], Mapping[str, str]],
        redeploy: Redeploy,
    ) -> SlipwayError:
        """Return the error that says why a deploy failed, after making the best of what it left.

        Args:
            error: what Pulumi made of it.
            failed_services: the services whose part it was.
            live_images: returns the images of the release that is live.
            redeploy: deploys once more.
        """
