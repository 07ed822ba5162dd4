"""A job on a Docker engine: a container in which a small runner starts the job's program at its times.

The engine has no scheduler, and images have no cron and no shell. The runner (toolchain/job_runner.go) comes from a
volume that belongs to the job, not to one of its containers: there it also keeps the last runs, and a lock that lets
one run at a time, also while a new container takes over from an old one.
"""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway._internal.content.healthcheck import Healthcheck
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace_path import workspace_root
from slipway._internal.rollout import container_files, health
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.container import (
    ContainerSpec,
    container_options,
    cpu_limit,
    new_container,
    put_secrets,
)
from slipway._internal.rollout.drain import MIN_STOP_SECONDS, run_interruptibly
from slipway._internal.rollout.hardening import with_init_fallback
from slipway._internal.rollout.images import pull_image
from slipway._internal.rollout.ownership import refuse_foreign_volume
from slipway._internal.run import engine

JOB_DIR, RUNS_FILE = "/run/slipway", "runs/runs.json"
RUNNER = f"{JOB_DIR}/job-runner"
POLL_SECONDS = 0.5
SHORT_ID = 12
"""How many characters of its id are a container's host name, by which the runner says whose run it is."""


@dataclass(frozen=True)
class JobRun:
    """One run of a job, in UTC (RFC 3339); `end` and `code` are empty while it is under way."""

    begin: str
    end: str = ""
    code: int | None = None


@dataclass(frozen=True)
class JobRecord:
    """A job's last runs, the newest first; `running_in` is the short id of the container of a run that is under way."""

    runs: tuple[JobRun, ...] = ()
    running_in: str = ""


def job_volume(spec_workspace: str, stack: str, service: str) -> str:
    """Return the name of the volume that a job has."""
    return f"{spec_workspace}-{stack}-{service}-job"


def create_job_container(
    spec: ContainerSpec, schedule: str, name: str, urn: str, cancellation: CancellationToken
) -> Any:
    """Return a new container of a job once its runner runs; otherwise remove it and put its last lines in the error.

    Args:
        spec: its specification.
        schedule: when its program is started, in UTC.
        name: its name, see `new_container_name`.
        urn: the resource that it is, or replaces.
        cancellation: stops the waiting.
    """
    return with_init_fallback(lambda: _create_job_container(spec, schedule, name, urn, cancellation))


def _create_job_container(
    spec: ContainerSpec, schedule: str, name: str, urn: str, cancellation: CancellationToken
) -> Any:
    with engine.docker_errors():
        runner = read_runner()
        image = pull_image(spec.image, cancellation)
        cancellation.sleep(0)
        refuse_foreign_volume(job_volume(spec.workspace, spec.stack, spec.service), urn)
        with new_container(spec, name, lambda: job_options(spec, schedule, name, urn, image)) as container:
            container.put_archive(JOB_DIR, _pack_runner(runner))
            put_secrets(container, spec, image)
            container.start()
            health.wait_until_healthy(container, Healthcheck(()), spec.healthTimeout, cancellation)
            container.update(restart_policy=engine.RESTART_POLICY, **cpu_limit(spec))
    return container


def job_options(spec: ContainerSpec, schedule: str, name: str, urn: str, image: Any) -> dict[str, Any]:
    """Return the options to create a job's container with: a service's, with the runner as its first program."""
    options = container_options(spec, name, urn)
    volume = engine.load_sdk().types.Mount(
        JOB_DIR,
        job_volume(spec.workspace, spec.stack, spec.service),
        type="volume",
        labels=options["labels"],
        no_copy=True,
    )
    return {
        **options,
        "mounts": [*options["mounts"], volume],
        "entrypoint": [RUNNER],
        "command": [str(Path(JOB_DIR, RUNS_FILE).parent), schedule, *_program(options, image)],
        "healthcheck": {"test": ["NONE"]},
    }


def read_runner() -> bytes:
    """Return the runner for the engine's kind of machine.

    Raises:
        SlipwayError: there is none for it, or none was installed.
    """
    arch = engine.client().version()["Arch"]
    path = workspace_root() / ".slipway" / "bin" / f"job-runner-{arch}"
    try:
        return path.read_bytes()
    except OSError as error:
        raise SlipwayError(
            f"the program that starts jobs is missing for the engine's machine ({arch}): {path}",
            remedy="Run `invoke setup`, which builds it for amd64 and arm64.",
        ) from error


def read_record(container_id: str) -> JobRecord:
    """Return what is known of a job's runs, from one of its containers, running or not; nothing if it is gone."""
    with engine.docker_errors(), suppress(engine.load_sdk().errors.NotFound):
        return parse_record(
            container_files.read_file(engine.client().containers.get(container_id), f"{JOB_DIR}/{RUNS_FILE}")
        )
    return JobRecord()


def parse_record(text: str) -> JobRecord:
    """Return the runs in the runner's own file; none if it has another form, as the job's program may write there."""
    try:
        document = json.loads(text or "{}")
        running = document.get("running") or {}
        runs = [JobRun(run["begin"], run["end"], int(run["code"])) for run in document.get("runs") or []]
        current = [JobRun(running["begin"])] if running else []
    except (ValueError, KeyError, TypeError, AttributeError):
        return JobRecord()
    return JobRecord((*current, *runs), str(running.get("by", "")))


def end_job(container_id: str, seconds: float, cancellation: CancellationToken, *, name: str, volume: str) -> None:
    """Stop and remove a job's container; a run that is under way has `seconds` to end by itself.

    Then it gets its stop signal, and ten seconds more. The job's volume goes with its last container.

    Raises:
        Cancelled: the user interrupted.
    """
    with engine.docker_errors(), suppress(engine.load_sdk().errors.NotFound):
        container = engine.client().containers.get(container_id)
        if container.attrs["State"]["Running"]:
            container.kill(signal="SIGUSR1")
            _wait_for_run(container_id, seconds, cancellation)
    run_interruptibly(
        lambda: engine.remove_container(container_id, name=name, grace=int(MIN_STOP_SECONDS)), cancellation
    )
    with suppress(SlipwayError), engine.docker_errors():  # a new container has it
        engine.client().volumes.get(volume).remove()


def _wait_for_run(container_id: str, seconds: float, cancellation: CancellationToken) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and read_record(container_id).running_in == container_id[:SHORT_ID]:
        cancellation.sleep(POLL_SECONDS)


def _program(options: dict[str, Any], image: Any) -> Sequence[str]:
    """Return the program that the container would run without the runner, and its words."""
    config = image.attrs["Config"]
    if options.get("entrypoint"):
        return [*options["entrypoint"], *(options.get("command") or [])]
    program = [*(config.get("Entrypoint") or []), *(options.get("command") or config.get("Cmd") or [])]
    if not program:
        raise SlipwayError(
            "the image names no program to run",
            remedy='Write CMD ["PROGRAM", "WORD"] into the last stage of its Dockerfile.',
        )
    return program


def _pack_runner(runner: bytes) -> bytes:
    """Return the archive with the runner, and the folder in which any user's runner may write."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        program = tarfile.TarInfo(Path(RUNNER).name)
        program.size, program.mode = len(runner), 0o555
        tar.addfile(program, io.BytesIO(runner))
        folder = tarfile.TarInfo(str(Path(RUNS_FILE).parent))
        folder.type, folder.mode = tarfile.DIRTYPE, 0o777
        tar.addfile(folder)
    return buffer.getvalue()
