"""Garbage collection in a real registry, killed in the middle: no registry runs beside what is left of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import PYTHONPATH
from tests.e2e.conftest import free_ports
from tests.gate import registries

from slipway._internal.run import registry
from slipway._internal.toolchain import registry_daemon
from slipway._internal.toolchain.install import ensure_tool

pytestmark = pytest.mark.engine
PROGRAM = """
import sys
from slipway._internal.toolchain import registry_daemon
getattr(registry_daemon, sys.argv[1])(sys.argv[2], on_line=lambda line: print(line, flush=True))
"""


def start(what: str, address: str) -> subprocess.Popen[str]:
    """Call a function of `toolchain.registry` in another process."""
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    command = [sys.executable, "-c", PROGRAM, what, address]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def collectors(home: Path) -> list[int]:
    """Return the processes that collect a registry's garbage."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"garbage-collect" in words and str(home).encode() in b" ".join(words):
            found.append(int(process.name))
    return found


def test_the_registry_does_not_start_beside_a_collection_whose_command_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    port = free_ports(1)
    address = f"127.0.0.1:{port}"
    registry_daemon.ensure_local_registry(address)
    home = registry_daemon.state_folder(port)
    link = home / "data/docker/registry/v2/repositories/stuck/_manifests/revisions/sha256" / ("a" * 64) / "link"
    link.parent.mkdir(parents=True)
    os.mkfifo(link)  # the collection reads it, and waits for a writer
    try:
        killed = start("collect_garbage", address)
        while not collectors(home):
            assert killed.poll() is None
        killed.kill()
        killed.communicate()
        starter = start("ensure_local_registry", address)
        assert starter.stdout
        assert "under way, waiting" in starter.stdout.readline()
        assert not registry_daemon.is_responding("127.0.0.1", port)
        with link.open("w") as writer:
            writer.write("")
        shutil.rmtree(link.parents[4])
        assert "starting it" in starter.communicate()[0]
        assert starter.returncode == 0
        layout = registries.image(tmp_path / "image", "after")
        pushed = registry.push_by_digest(ensure_tool("crane"), layout, f"{address}/shop/api")
        assert registry.Registry(address).get_manifest("shop/api", pushed)
    finally:
        registry_daemon.stop_local_registry(address)
