"""Serves policies to Pulumi from this process, so that no second Python starts for each preview and deploy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi_policy import Policy

PACK = Path(__file__).parent / "pack"
"""The policy pack that Pulumi is given: its program only says where the policies answer."""
PORT = "SLIPWAY_POLICY_PORT"
THREADS = 4
MESSAGE_BYTES = 400 * 1024 * 1024  # Pulumi's own limit


@dataclass(frozen=True)
class Served:
    """What Pulumi has to be given for it to ask the policies: packs, and environment variables. Empty for none."""

    packs: list[str] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def served(policies: Sequence[Policy], environment: Mapping[str, str]) -> Iterator[Served]:
    """Answer for these policies on a free port of this machine for the time of a `with`.

    Args:
        policies: what is asked of every resource; mandatory where a policy says nothing else.
        environment: Pulumi's; its PATH is added to.
    """
    if not policies:
        yield Served()
        return
    import grpc
    from pulumi.runtime.proto import analyzer_pb2_grpc
    from pulumi_policy import EnforcementLevel
    from pulumi_policy.policy import _PolicyAnalyzerServicer  # PolicyPack itself never returns

    server = grpc.server(
        ThreadPoolExecutor(THREADS, thread_name_prefix="policy"),
        options=[("grpc.max_receive_message_length", MESSAGE_BYTES)],
    )
    servicer = _PolicyAnalyzerServicer("rules", "1.0.0", list(policies), EnforcementLevel.MANDATORY)
    analyzer_pb2_grpc.add_AnalyzerServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    path = environment.get("PATH") or os.environ.get("PATH", os.defpath)
    try:
        yield Served([str(PACK)], {PORT: str(port), "PATH": f"{PACK}{os.pathsep}{path}"})
    finally:
        server.stop(grace=None)
