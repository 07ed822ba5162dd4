"""Commands of a user's in a stack's containers: in one that runs, or in one of their own beside it."""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from slipway._internal.model.containers import SECRETS_DIR
from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout import hardening
from slipway._internal.run import attach, engine
from slipway._internal.run.background import Background

STOP_SECONDS = 10
"""How long a command has to end after Ctrl-C, before it is killed."""
RESULT_SECONDS = 10.0
"""How long after its last output the engine may take to say how a command ended."""


def exec_command(container: engine.ContainerSummary, command: Sequence[str]) -> int:
    """Run a command in a running container, joined to this process's standard streams; return its exit status.

    Raises:
        SlipwayError: the engine does not answer.
    """
    terminal = attach.is_interactive()
    api = engine.client().api
    with engine.docker_errors():
        handle = api.exec_create(container.id, list(command), stdin=True, tty=terminal)["Id"]
        connection = api.exec_start(handle, tty=terminal, socket=True)
        attach.join_streams(connection, terminal=terminal, resize=partial(api.exec_resize, handle))
        return int(api.exec_inspect(handle)["ExitCode"])


def run_command(container: engine.ContainerSummary, command: Sequence[str]) -> int:
    """Run a command in a new container like another, joined to this process's standard streams; return its exit status.

    It has the other's image, network, environment and limits, and a copy of its secrets. Nothing sends requests to it,
    and nothing of it is left.

    Raises:
        SlipwayError: the engine does not answer, or cannot start it.
    """
    return hardening.with_init_fallback(lambda: _run_command(container, command))


def _run_command(container: engine.ContainerSummary, command: Sequence[str]) -> int:
    terminal = attach.is_interactive()
    client = engine.client()
    made: Any = None
    try:
        with engine.docker_errors():
            model = client.containers.get(container.id)
            made = client.containers.create(**_options(model.attrs, container, command, terminal))
            if archive := _read_secrets(model):
                made.put_archive(SECRETS_DIR, archive)
            connection = client.api.attach_socket(made.id, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            result = Background(lambda: client.api.wait(made.id, timeout=None, condition="next-exit"))
            made.start()
            attach.join_streams(connection, terminal=terminal, resize=made.resize)
            if not result.wait(RESULT_SECONDS):
                raise SlipwayError(f"the engine does not say how the command in {made.name} ended")
            return int(result.result()["StatusCode"])
    except BaseException:
        if made is not None:
            with suppress(SlipwayError):  # what went wrong first is what the user must hear
                engine.remove_container(made.id, grace=STOP_SECONDS)
        raise


def _options(
    details: dict[str, Any], container: engine.ContainerSummary, command: Sequence[str], terminal: bool
) -> dict[str, Any]:
    """Return how the engine is asked for a container like one that it describes, which runs a command to its end."""
    config, host = details["Config"], details["HostConfig"]
    types = engine.load_sdk().types
    labels = {**container.labels, engine.COMMAND_LABEL: "true"}
    volume = types.Mount(SECRETS_DIR, None, type="volume", labels=labels, no_copy=True)
    has_secrets = any(mount["Destination"] == SECRETS_DIR for mount in details["Mounts"])
    return {
        **hardening.hardened_settings(
            read_only=host.get("ReadonlyRootfs", True), capabilities=host.get("CapAdd") or ()
        ),
        "tmpfs": host["Tmpfs"],
        "image": config["Image"],
        "name": f"{container.name}-run-{secrets.token_hex(4)}",
        "labels": labels,
        "entrypoint": [command[0]],
        "command": list(command[1:]),
        "environment": config["Env"],
        "network": next(iter(details["NetworkSettings"]["Networks"])),
        "mounts": [volume] if has_secrets else [],
        "healthcheck": {"test": ["NONE"]},
        "mem_limit": host["Memory"] or None,
        "cpu_period": host.get("CpuPeriod") or None,
        "cpu_quota": host.get("CpuQuota") or None,
        "user": config.get("User") or None,
        "stdin_open": True,
        "tty": terminal,
        "auto_remove": True,  # also where this process is killed
    }


def _read_secrets(model: Any) -> bytes:
    """Return the secrets of a container as an archive for the same folder of another; nothing where it has none."""
    try:
        chunks, _ = model.get_archive(SECRETS_DIR)
    except engine.load_sdk().errors.NotFound:
        return b""
    copied = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as old, tarfile.open(fileobj=copied, mode="w") as new:
        for entry in old:
            if entry.isfile():
                entry.name = entry.name.rpartition("/")[2]
                new.addfile(entry, old.extractfile(entry))
    return copied.getvalue()
