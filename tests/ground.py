"""The daemons that tests on real components stand on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from slipway.toolchain import builder, engine, registry


@contextmanager
def left_as_it_was(address: str) -> Iterator[None]:
    """End, at the end, what was not there before: a registry at this address, the builder, the Docker engine.

    Only what Slipway itself started is ended, whoever asks.
    """
    there = {
        "engine": engine.answers(),
        "builder": bool(builder.answers(builder.socket_path())),
        "registry": registry.answers(*registry.split(address)),
    }
    try:
        yield
    finally:
        if not there["registry"]:
            registry.stop(address)
        if not there["builder"]:
            builder.stop()
        if not there["engine"]:
            engine.stop()
