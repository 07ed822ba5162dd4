"""Starts the provider: as a program that Pulumi runs, or as a thread of a program that drives Pulumi."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import grpc

from slipway.provider.service import NAME, Provider

# Each resource that Pulumi handles at the same time takes a thread while it waits for its container;
# there must be one left for Cancel. Threads are made when they are needed.
THREADS = 512
# Pulumi's own limit for one message: a stack's inputs can be larger than gRPC's 4 MiB.
MESSAGE_BYTES = 400 * 1024 * 1024
OPTIONS = [(f"grpc.max_{way}_message_length", MESSAGE_BYTES) for way in ("receive", "send")]


def start() -> tuple[Any, int]:
    """Start the provider on a free port of this machine; return the gRPC server and the port."""
    from pulumi.runtime.proto import provider_pb2_grpc

    server = grpc.server(ThreadPoolExecutor(THREADS, thread_name_prefix=NAME), options=OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    threading.Thread(target=_warm_up, daemon=True).start()
    return server, port


def serve_in_thread() -> int:
    """Serve from this process until it ends, and return the port for `PULUMI_DEBUG_PROVIDERS=slipway:PORT`.

    Pulumi then starts no program of its own, which saves a second Python start in each command.
    """
    return _shared()[1]


@cache
def _shared() -> tuple[Any, int]:
    return start()


def main() -> None:
    """Serve Pulumi until it ends this process; print the port first, as its plugins do."""
    server, port = start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


def _warm_up() -> None:
    """Import the Docker SDK while Pulumi is still busy with itself."""
    import docker.errors
    import docker.types  # noqa: F401
