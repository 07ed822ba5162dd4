"""A job's status on a Docker engine: whether its runner runs, and how its last runs ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from slipway._internal.rollout import job
from slipway._internal.rollout.job import JobRun
from slipway._internal.run import engine
from slipway._internal.targets.status import ServiceStatus, format_age, shorten_image

SCHEDULED, FAILING = "scheduled", "failing"


@dataclass(frozen=True)
class JobStatus(ServiceStatus):
    """A job's status; `runs` has its last runs, the newest first, each with begin, end and exit code."""

    runs: tuple[JobRun, ...] = ()

    @property
    def coloured_state(self) -> str:
        plain = super().coloured_state
        return f"{plain} ({describe_run(self.runs[0])})" if self.runs else f"{plain} (never ran)"


def job_status(container: engine.ContainerSummary, drift: str) -> JobStatus:
    """Return the status of the job that a container is."""
    runs = job.read_record(container.id).runs
    state = job_state(container, runs)
    return JobStatus(
        container.service, state, shorten_image(container.image), format_age(container.created), drift, runs
    )


def job_health(container: engine.ContainerSummary) -> str:
    """Return a job's health in a word: `scheduled`, however its last run ended, or the engine's word for its state."""
    return SCHEDULED if container.state == "running" else container.state


def job_state(container: engine.ContainerSummary, runs: tuple[JobRun, ...]) -> str:
    """Return a job's state: `failing` if the last run that ended did."""
    ended = [run for run in runs if run.code is not None]
    if container.state == "running" and ended and ended[0].code:
        return FAILING
    return job_health(container)


def describe_run(run: JobRun) -> str:
    """Return how a run ended, and when."""
    try:
        age = format_age(int(datetime.fromisoformat(run.end or run.begin).timestamp()))
    except ValueError:  # the job's program may have written there
        age = "some time"
    if run.code is None:
        return f"runs since {age}"
    return f"the last run {f'failed with exit code {run.code}' if run.code else 'succeeded'} {age} ago"
