"""The daemons that tests on real components stand on."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from slipway._internal.toolchain import builder, docker_daemon, registry_daemon
from slipway._internal.toolchain.locking import file_lock


@contextmanager
def this_run_alone(suite: str) -> Iterator[None]:
    """Wait for another run of a suite on this machine, whose names and ports are the same wherever its state is."""
    lock = Path(tempfile.gettempdir(), f"slipway-tests-{suite}-{os.getuid()}.lock")
    waiting = f"Another run of the {suite} tests is under way on this machine: waiting for its end."
    with file_lock(lock, lambda: print(waiting, file=sys.stderr, flush=True)):
        yield


@contextmanager
def left_as_it_was(addresses: Sequence[str]) -> Iterator[None]:
    """End, at the end, what was not there before: registries at these addresses, the builder, the Docker engine.

    Only what Slipway itself started is ended, whoever asks.
    """
    engine, build_daemon = docker_daemon.is_responding(), builder.is_responding(builder.socket_path())
    absent = [each for each in addresses if not registry_daemon.is_responding(*registry_daemon.split_address(each))]
    try:
        yield
    finally:
        for address in absent:
            registry_daemon.stop_local_registry(address)
        if not build_daemon:
            builder.stop_builder()
        if not engine:
            docker_daemon.stop_engine()
