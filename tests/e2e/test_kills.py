"""Fifty commands killed at random moments: one more `invoke up` makes all as it should be, and nothing is left over.

What is tried is decided by the seed, which a failure prints; when the kills come, by the machine as well. So this looks
for what nobody thought of; what it found has a test of its own.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.e2e.workspace import Workspace

from slipway._internal.run import engine

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]
KILLS = 50
LONGEST = 6.0
"""Seconds after the start of a command within which it is killed; most commands take less."""
VERBS: tuple[tuple[str, ...], ...] = (
    ("up", "--yes"),
    ("up", "--yes"),
    ("up", "--yes"),
    ("deploy", "--stack", "dev", "--yes"),
    ("build",),
    ("push",),
    ("dev",),
    ("prune", "--yes"),
    ("mode", "hybrid"),
    ("mode", "inline"),
    ("rollback", "--yes"),
    ("down", "--yes"),
)


def test_fifty_kills_leave_nothing_that_the_next_up_does_not_mend(deployed: Workspace) -> None:
    """Whatever moment a command is killed at, one more `up` mends it: found by chance, not by a list of moments."""
    seed = int(os.environ.get("SLIPWAY_KILLS_SEED") or time.time_ns() % 1_000_000)
    told = storm(deployed, random.Random(seed), KILLS)
    deployed.restore()
    ran = deployed.invoke("up", "--yes")
    assert ran.code == 0, f"SLIPWAY_KILLS_SEED={seed}\n{told}\n{ran.output}"
    # A plugin of Pulumi's notices only after up to five minutes by itself that its engine is gone.
    assert orphans(deployed.root) == [], f"SLIPWAY_KILLS_SEED={seed}\n{told}"
    again = deployed.invoke("up")
    assert left_over(deployed) == [], f"SLIPWAY_KILLS_SEED={seed}\n{told}"
    assert "Nothing changed" in again.output, f"SLIPWAY_KILLS_SEED={seed}\n{told}\n{again.output}"


def storm(workspace: Workspace, rng: random.Random, kills: int) -> str:
    """Kill so many commands, each its first process alone, and return which and when."""
    told = []
    for number in range(kills):
        verb = rng.choice(VERBS)
        wait = rng.uniform(0.05, LONGEST)
        if rng.random() < 0.6:
            file = workspace.root / "services" / "api" / "app" / "main.py"
            file.write_text(f"{file.read_text(encoding='utf-8')}# {number}\n", encoding="utf-8")
        child = workspace.start(*verb)
        end = time.monotonic() + wait
        while child.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        how = "ended before" if child.poll() is not None else f"killed after {wait:.2f} s"
        with suppress(ProcessLookupError):
            child.send_signal(signal.SIGKILL)
        child.wait()
        for stream in (child.stdout, child.stderr):
            if stream:
                stream.close()
        told.append(f"{number}: invoke {' '.join(verb)}: {how} ({child.returncode})")
    return "\n".join(told)


def orphans(root: Path) -> list[str]:
    """Return the processes that work for a workspace, by their folder or their arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            inside = (process / "cwd").readlink().is_relative_to(root) or str(root) in words
            inside = inside and "/registry_proxy.py " not in words  # the machine's registry, whoever started it
            if inside and state not in "ZX" and int(process.name) != os.getpid():
                found.append(f"{process.name}: {words}")
    return found


def left_over(workspace: Workspace) -> list[str]:
    """Return what is there that should not be, in words."""
    name, scratch = workspace.root.name, workspace.root / ".slipway"
    services = {folder.parent.name for folder in workspace.root.glob("services/*/service.toml")}
    running = [each.service for each in engine.list_containers(name, "dev")]
    found = [] if sorted(running) == sorted({*services, "gateway"}) else [f"containers: {running}"]
    client = engine.client()
    networks = [each.name for each in client.networks.list() if each.name.startswith(f"{name}-dev")]
    found += [f"networks: {networks}"] if len(networks) != 1 else []
    used = {mount.get("Name") for each in client.containers.list(all=True) for mount in each.attrs["Mounts"]}
    mine = [
        each
        for each in client.volumes.list(filters={"label": f"{engine.WORKSPACE_LABEL}={name}"})
        if each.name not in used
    ]
    found += [f"volume: {each.name}" for each in mine]
    # Earlier tests have called what makes this process's own folder, which is there until the process ends.
    own = f"{os.getpid()}-"
    found += [f"temporary: {path}" for path in scratch.glob("tmp/*") if not path.name.startswith(own)]
    found += [f"temporary: {path}" for path in scratch.rglob("*.tmp")]
    found += [f"temporary: {path}" for path in (scratch / "run").glob("bake-*")]
    found += [f"mark: {path}" for path in (scratch / "run").glob("deploy-*")]
    found += [f"lock: {path}" for path in (scratch / "state" / ".pulumi" / "locks").rglob("*.json")]
    found += [f"process: {each}" for each in orphans(workspace.root)]
    return found
