"""Starts the provider: as a program that Pulumi runs, or as a thread of a program that runs Pulumi."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import grpc

from slipway._internal.model.errors import SlipwayError
from slipway._internal.provider.servicer import PROVIDER_NAME, Provider
from slipway._internal.rollout import images
from slipway._internal.run import engine

# Each concurrent resource blocks a thread while it waits for its container, and Cancel needs a free one.
# Threads are created on demand.
MAX_THREADS = 512
# Pulumi's own limit per message: a stack's inputs can exceed gRPC's 4 MiB.
MAX_MESSAGE_BYTES = 400 * 1024 * 1024
CLEANUP_SECONDS = 30  # to remove unfinished resources after Pulumi was killed
GRPC_OPTIONS = [(f"grpc.max_{way}_message_length", MAX_MESSAGE_BYTES) for way in ("receive", "send")]


def start_server() -> tuple[Any, int, Provider]:
    """Start the provider on a free port of this machine; return gRPC's server, the port and the provider."""
    from pulumi.runtime.proto import provider_pb2_grpc

    provider = Provider()
    server = grpc.server(ThreadPoolExecutor(MAX_THREADS, thread_name_prefix=PROVIDER_NAME), options=GRPC_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    threading.Thread(target=engine.load_sdk, daemon=True).start()  # import it while Pulumi starts
    return server, port, provider


def serve_in_thread(pull_config: Path | None = None, *, lifted_stack: str = "") -> int:
    """Serve from this process until it ends, and return the port for `PULUMI_DEBUG_PROVIDERS=slipway:PORT`.

    Pulumi then does not start the provider as a program, which saves a second Python start per command.

    Args:
        pull_config: the folder of the Docker config to pull images with; None for the user's own.
        lifted_stack: the stack whose protection may be lifted.
    """
    _, port, provider = _shared_server()
    provider.lifted_stack = lifted_stack
    images.use_pull_config(pull_config)
    return port


def resource_error(urn: str) -> SlipwayError | None:
    """Return the error of the last call for a resource, if this process served it and it failed; else None."""
    return _shared_server()[2].errors.get(urn)


@cache
def _shared_server() -> tuple[Any, int, Provider]:
    return start_server()


def main() -> None:
    """Serve until Pulumi ends this process or is killed itself; print the port first, as plugins do."""
    pulumi_pid = os.getppid()
    server, port, provider = start_server()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    while server.wait_for_termination(timeout=1) and os.getppid() == pulumi_pid:
        pass
    provider.cancel()
    server.stop(CLEANUP_SECONDS).wait()
