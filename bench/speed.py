"""How fast a workspace is, as ratios in one run: `python bench/speed.py`.

Needs what `./run demo` sets up. It generates a workspace of its own, deploys it, and removes it at the end. Each
figure is the median of some runs, and what is compared is run in turn, because a machine's speed drifts. A
`docker-compose` (v2) on PATH adds the comparison of a saved line's way to being served; without one that row says so.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INVOKE = str(Path(sys.executable).with_name("invoke"))
COOKIECUTTER = str(Path(sys.executable).with_name("cookiecutter"))
EMPTY_TASKS = "from invoke import task\n\n\n@task\ndef empty(c):\n    pass\n"
SERVED_WITHIN = 120.0
Environment = dict[str, str]


def main() -> None:
    """Measure everything and print it, one line for each figure, with its limit."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name:
        folder = Path(name)
        print(f"generation             {generation(folder):6.2f} s   at most 1.5")
        with deployed(folder) as (workspace, port):
            ratio = listing(workspace, folder)
            print(f"invoke --list / bare   {ratio:6.2f}     at most 1.3")
            print(f"no-op invoke up        {median(lambda: seconds(run, workspace, 'up')):6.2f} s   at most 3")
            ours, theirs = saved_to_served(workspace, port)
            print(f"saved line to served   {ours:6.2f} s   at most 5")
            if theirs:
                print(f"  docker-compose       {theirs:6.2f} s   ratio {ours / theirs:.2f}, at most 1")
            else:
                print("  docker-compose is not on PATH: no comparison")


def generation(folder: Path) -> float:
    """Return the seconds that generating a workspace takes."""

    def once() -> float:
        target = Path(tempfile.mkdtemp(dir=folder))
        return seconds(run_in, ROOT, [COOKIECUTTER, str(ROOT), "--no-input", "--output-dir", str(target)])

    return median(once)


def listing(workspace: Path, folder: Path) -> float:
    """Return the time of `invoke --list` divided by that of bare Invoke with one empty task, pair by pair."""
    bare = folder / "bare"
    bare.mkdir()
    (bare / "tasks.py").write_text(EMPTY_TASKS, encoding="utf-8")
    pairs = [
        (seconds(run_in, workspace, [INVOKE, "--list"]), seconds(run_in, bare, [INVOKE, "--list"])) for _ in range(9)
    ]
    return statistics.median(ours / theirs for ours, theirs in pairs[1:])


def saved_to_served(workspace: Path, port: int) -> tuple[float, float | None]:
    """Return the seconds from a saved line of the API to its new version being served: ours, docker-compose's."""
    compose = shutil.which("docker-compose")
    mine, other = [], []
    with composed(workspace, compose) as url:
        for number in range(4):
            mine.append(served(workspace, f"1.{number}.0", f"http://127.0.0.1:{port}", [INVOKE, "up"], {}))
            if compose and url:
                command = [compose, "up", "--build", "--detach"]
                other.append(served(workspace, f"2.{number}.0", url, command, compose_environment(workspace)))
    return statistics.median(mine[1:]), statistics.median(other[1:]) if other else None


def served(workspace: Path, version: str, url: str, command: list[str], environment: Environment) -> float:
    """Save a new version, start the command, and return the seconds until the version is served."""
    file = workspace / "services" / "api" / "app" / "__init__.py"
    lines = [f'VERSION = "{version}"' if line.startswith("VERSION") else line for line in file.read_text().splitlines()]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    began = time.monotonic()
    child = subprocess.Popen(
        command, cwd=workspace, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        while not says(f"{url}/api/info", version):
            if time.monotonic() - began > SERVED_WITHIN or child.poll() not in (None, 0):
                raise SystemExit(f"{command} did not serve {version}:\n{child.communicate()[0].decode()}")
            time.sleep(0.02)
        return time.monotonic() - began
    finally:
        child.communicate(timeout=SERVED_WITHIN)


def says(url: str, version: str) -> bool:
    """Whether the URL answers with the version."""
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 - an address of our own
            return f'"{version}"' in reply.read().decode()
    except OSError:
        return False


@contextmanager
def composed(workspace: Path, compose: str | None) -> Iterator[str | None]:
    """Run the same services by docker-compose, from the same Dockerfiles, bases and secrets; yield the API's URL."""
    if not compose:
        yield None
        return
    port = free_port()
    bases = json.loads((workspace / "bases" / "bases.lock.json").read_text(encoding="utf-8"))["bases"]
    arguments = {name.upper().replace("-", "_"): ref for name, ref in bases.items()}
    services = {
        name: {
            "build": {
                "context": f"services/{name}",
                "target": "run",
                "args": arguments,
                "additional_contexts": {"common": "libs/common"},
                "secrets": ["ca"],
            },
            "environment": {"PORT": "8000", "ROUTE": "/api", "API_URL": "http://api:8000/api"},
        }
        for name in ("api", "web", "worker")
    }
    services["api"]["ports"] = [f"127.0.0.1:{port}:8000"]
    # Bake, which docker-compose builds with, reads nothing outside the workspace.
    shutil.copyfile("/etc/ssl/certs/ca-certificates.crt", workspace / ".slipway" / "ca.pem")
    secrets = {"ca": {"file": ".slipway/ca.pem"}}
    (workspace / "compose.json").write_text(json.dumps({"services": services, "secrets": secrets}), encoding="utf-8")
    try:
        run_in(workspace, [compose, "up", "--build", "--detach"], compose_environment(workspace))
        yield f"http://127.0.0.1:{port}"
    finally:
        run_in(workspace, [compose, "down", "--volumes", "--timeout", "1"], compose_environment(workspace))


def compose_environment(workspace: Path) -> Environment:
    """Return the variables that give docker-compose the same builder as Slipway's."""
    plugins = workspace / ".slipway" / "docker" / "cli-plugins"
    if not plugins.is_dir():
        plugins.mkdir(parents=True)
        (plugins / "docker-buildx").symlink_to((workspace / ".slipway" / "bin" / "docker-buildx").resolve())
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "slipway"
    return {
        "COMPOSE_FILE": str(workspace / "compose.json"),
        "DOCKER_CONFIG": str(plugins.parent),
        "BUILDX_CONFIG": str(state / "buildx"),
        "BUILDX_BUILDER": "slipway",
        "COMPOSE_BAKE": "true",
    }


@contextmanager
def deployed(folder: Path) -> Iterator[tuple[Path, int]]:
    """Generate a workspace, deploy it, yield its folder and gateway port, and remove it."""
    port = free_port()
    answers = ["project_slug=bench", f"gateway_port={port}"]
    run_in(ROOT, [COOKIECUTTER, str(ROOT), "--no-input", "--output-dir", str(folder), *answers])
    workspace = folder / "bench"
    try:
        run(workspace, "up")
        yield workspace, port
    finally:
        run(workspace, "down", "--yes")


def run(workspace: Path, *words: str) -> None:
    """Run an Invoke command; end the program with its output when it fails."""
    run_in(workspace, [INVOKE, *words])


def run_in(folder: Path, command: list[str], environment: Environment | None = None) -> None:
    """Run a command in a folder; end the program with its output when it fails."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def seconds(work: Callable[..., None], *arguments: object) -> float:
    """Return how long the work takes, in seconds."""
    began = time.monotonic()
    work(*arguments)
    return time.monotonic() - began


def median(once: Callable[[], float], runs: int = 5) -> float:
    """Return the median of some runs, after one that does not count."""
    once()
    return statistics.median(once() for _ in range(runs))


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
