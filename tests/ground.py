"""The daemons that tests on real components stand on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from slipway._internal.toolchain import builder, docker_daemon, registry_daemon


@contextmanager
def left_as_it_was(address: str) -> Iterator[None]:
    """End, at the end, what was not there before: a registry at this address, the builder, the Docker engine.

    Only what Slipway itself started is ended, whoever asks.
    """
    there = {
        "engine": docker_daemon.is_responding(),
        "builder": bool(builder.is_responding(builder.socket_path())),
        "registry": registry_daemon.is_responding(*registry_daemon.split_address(address)),
    }
    try:
        yield
    finally:
        if not there["registry"]:
            registry_daemon.stop_local_registry(address)
        if not there["builder"]:
            builder.stop_builder()
        if not there["engine"]:
            docker_daemon.stop_engine()
