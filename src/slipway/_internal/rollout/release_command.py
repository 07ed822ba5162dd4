"""Runs a service's release command once, to its end, in a container of its own: a migration, most often."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout.cancellation import CancellationToken, Cancelled
from slipway._internal.rollout.container import (
    ContainerSpec,
    container_options,
    cpu_limit,
    put_secrets,
    remove_failed_container,
)
from slipway._internal.rollout.hardening import with_init_fallback
from slipway._internal.rollout.images import pull_image
from slipway._internal.rollout.release_progress import Progress
from slipway._internal.rollout.start_failure import explain_start_failure
from slipway._internal.run import engine
from slipway._internal.run.background import Background

POLL_SECONDS = 0.1
STOP_SECONDS = 10
"""How long an interrupted command has to end after its stop signal, before it is killed."""
SERVING_OPTIONS = ("healthcheck", "networking_config")
"""Options of a container that serves: nobody looks for one that runs a command, by name or by health."""


def run_release_command(spec: ContainerSpec, command: Sequence[str], urn: str, cancellation: CancellationToken) -> None:
    """Run a service's release command, with its new image, and return when it has succeeded.

    Nothing of its container is left, however it ends. What an interrupted deploy left of an earlier one is removed
    first: two never run at a time.

    Args:
        spec: what the service's container is made from.
        command: the program and its words.
        urn: the resource that it is.
        cancellation: stops the command.

    Raises:
        SlipwayError: it failed; its last lines are in the error, its whole log in a file.
        Cancelled: the user interrupted; it was stopped.
    """
    _remove_earlier(spec, urn)
    with_init_fallback(lambda: _run(spec, command, urn, cancellation))


def _run(spec: ContainerSpec, command: Sequence[str], urn: str, cancellation: CancellationToken) -> None:
    name = f"{spec.workspace}-{spec.stack}-{spec.service}-release-{secrets.token_hex(4)}"
    container: Any = None
    with engine.docker_errors():
        image = pull_image(spec.image, cancellation)
        cancellation.sleep(0)
        try:
            container = engine.client().containers.create(spec.image, **command_options(spec, command, name, urn))
            put_secrets(container, spec, image)
            container.start()
            code = _wait(container, spec.service, cancellation)
            if code:
                raise _failure(container, code)
        except BaseException as error:
            failure = explain_start_failure(spec.service, container, error, list(spec.secrets.values()))
            with suppress(SlipwayError):  # the first error is the one to report
                if isinstance(error, Cancelled) and container is not None:
                    engine.remove_container(container.id, name=name, grace=STOP_SECONDS)
                else:
                    remove_failed_container(container, name)
            raise failure from error
        engine.remove_container(container.id, name=name)


def command_options(spec: ContainerSpec, command: Sequence[str], name: str, urn: str) -> dict[str, Any]:
    """Return the options to create the container with: the service's own, without what is for serving."""
    options = container_options(spec, name, urn)
    return {
        **{key: value for key, value in options.items() if key not in SERVING_OPTIONS},
        **cpu_limit(spec),
        "labels": {**options["labels"], engine.RELEASE_LABEL: "true"},
        "entrypoint": [command[0]],
        "command": list(command[1:]),
        "healthcheck": {"test": ["NONE"]},
    }


def _wait(container: Any, service: str, cancellation: CancellationToken) -> int:
    """Return the exit code of a container's program; while it runs, its progress is told."""
    progress = Progress(service)
    end = Background(lambda: engine.client().api.wait(container.id, timeout=None))
    while not end.wait(POLL_SECONDS):
        cancellation.sleep(0)
        progress.tell()
    return int(end.result()["StatusCode"])


def _failure(container: Any, code: int) -> SlipwayError:
    container.reload()
    reason = "it exceeded its memory limit" if container.attrs["State"]["OOMKilled"] else f"exit code {code}"
    return SlipwayError(
        f"its release command failed ({reason})",
        remedy="Fix that and deploy again: the command runs again. What was deployed before still serves.",
    )


def _remove_earlier(spec: ContainerSpec, urn: str) -> None:
    """Remove what a killed deploy left of the service's release command."""
    labels = [*engine.label_filters(spec.workspace, spec.stack), f"{engine.SERVICE_LABEL}={spec.service}"]
    with engine.docker_errors():
        found = engine.client().api.containers(all=True, filters={"label": [*labels, engine.RELEASE_LABEL]})
    for entry in found:
        if entry["Labels"].get(engine.URN_LABEL) == urn:
            engine.remove_container(entry["Id"], name=entry["Names"][0].lstrip("/"))
