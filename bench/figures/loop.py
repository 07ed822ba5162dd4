"""From a saved line to a served answer: by `invoke dev`, by `invoke up`, and by docker-compose."""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from bench import rivals
from bench.ground import PLAIN, Bench, invoke, lock_of
from bench.measure import Limit, Row, Times, against, in_turn
from bench.process import Environment, Failed, end, run, start
from bench.trees import INVOKE
from slipway._internal.toolchain import builder

TITLE = "From a saved line to a served answer"
ABOUT = (
    "A line is saved, and the service's address is asked until the answer has the line. "
    "docker-compose builds the same Dockerfiles on the same builder, without health checks and "
    "without a gateway, and stops the old container before it starts the new one."
)
SERVED_WITHIN, READY_WITHIN, PAUSE = 120.0, 300.0, 4.0
POLL = 0.02
_numbers = count(1)


@dataclass(frozen=True)
class Edit:
    """A line to save: the file, what stands there (a regular expression), what it becomes, and where it is served."""

    file: str
    old: str
    new: str
    path: str

    def save(self, workspace: Path, mark: str) -> None:
        file = workspace / self.file
        text = file.read_text(encoding="utf-8")
        changed = re.sub(self.old, self.new.format(mark), text, count=1)
        if changed == text:
            raise Failed(f"{self.file} has no line to change")
        file.write_text(changed, encoding="utf-8")


PYTHON = Edit("services/api/app/__init__.py", r'VERSION = "[^"]*"', 'VERSION = "{}"', "/api/info")
NODE = Edit("services/web/app/page.js", r"<h1>In stock[^<]*</h1>", "<h1>In stock {}</h1>", "/")


def rows(bench: Bench) -> Iterator[Row]:
    """Measure `invoke up` beside docker-compose, then `invoke dev` for Python and Node, without and with --sync."""
    workspace = bench.demo
    yield from up(bench, workspace)
    yield from dev(bench, workspace)


def up(bench: Bench, workspace: Path) -> Iterator[Row]:
    """Measure `invoke up` and docker-compose in turn."""
    bench.say("saved line to served: invoke up, docker-compose")
    ours = partial(served, workspace, PYTHON, bench.url(workspace), [INVOKE, "up"], PLAIN)
    found: dict[str, Times]
    try:
        binary = rivals.compose()
        with composed(bench, workspace, binary) as (url, environment):
            command: list[str | Path] = [binary, "up", "--build", "--detach"]
            theirs = partial(served, workspace, PYTHON, url, command, environment)
            found = in_turn({"ours": ours, "compose": theirs}, bench.runs)
    except Failed as error:
        found = {**in_turn({"ours": ours}, bench.runs), "compose": Times(failure=error.short)}
    yield found["ours"].row("loop", "Slipway: saved Python line to served, invoke up", limit=Limit(5.0))
    yield found["compose"].row("loop", "docker-compose up --build, same line", to=found["ours"])
    yield against("loop", "invoke up to docker-compose", found["ours"], found["compose"], Limit(1.0))


def dev(bench: Bench, workspace: Path) -> Iterator[Row]:
    """Measure `invoke dev` in both of its modes."""
    for words, name in ((("dev",), "invoke dev"), (("dev", "--sync"), "invoke dev --sync")):
        python, node = f"Slipway: saved Python line to served, {name}", f"Slipway: saved Node line to served, {name}"
        if not re.search(r"^\s*dev\b", invoke(workspace, "--list"), re.MULTILINE):
            for what in (python, node):
                yield Row("loop", what, limit=Limit(2.0), note="there is no `invoke dev` yet")
            continue
        bench.say(f"saved line to served: {name}")
        try:
            with watching(workspace, words, bench.url(workspace)) as alive:
                found = in_turn(
                    {
                        "python": partial(saved, workspace, PYTHON, bench.url(workspace), alive),
                        "node": partial(saved, workspace, NODE, bench.url(workspace), alive),
                    },
                    bench.runs,
                )
        except Failed as error:
            found = {"python": Times(failure=error.short), "node": Times(failure=error.short)}
        yield found["python"].row("loop", python, limit=Limit(2.0))
        yield found["node"].row("loop", node, limit=Limit(2.0))


@contextmanager
def watching(workspace: Path, words: Sequence[str], url: str) -> Iterator[Callable[[], None]]:
    """Run `invoke dev` until the end of a `with`, ready; yield what raises when it has ended by itself."""
    log = workspace / ".slipway" / "bench-dev.log"
    with log.open("w", encoding="utf-8") as output:
        child = start([INVOKE, *words], workspace, {**PLAIN, "PYTHONUNBUFFERED": "1"}, output)

    def alive() -> None:
        if child.poll() is not None:
            raise Failed(f"invoke {' '.join(words)} ended with {child.returncode}", log.read_text(encoding="utf-8"))

    try:
        # It watches when a change gets through, however long its own `up` takes.
        wait(lambda: bool(answer(f"{url}/api/info")), READY_WITHIN, alive, "the first answer")
        time.sleep(PAUSE)
        saved(workspace, PYTHON, url, alive)
        yield alive
    finally:
        end(child, patience=60.0)


def saved(workspace: Path, edit: Edit, url: str, alive: Callable[[], None]) -> float:
    """Save a line while `invoke dev` watches, and return the seconds until it is served; then let the loop settle."""
    mark = f"9.{next(_numbers)}.0"
    edit.save(workspace, mark)
    began = time.monotonic()
    wait(lambda: mark in answer(f"{url}{edit.path}"), SERVED_WITHIN, alive, mark)
    taken = time.monotonic() - began
    time.sleep(PAUSE)
    return taken


def served(workspace: Path, edit: Edit, url: str, command: Sequence[str | Path], environment: Environment) -> float:
    """Save a line, start the command, and return the seconds until the line is served; the command ends before."""
    mark = f"8.{next(_numbers)}.0"
    edit.save(workspace, mark)
    began = time.monotonic()
    child = start(command, workspace, environment)

    def alive() -> None:
        if child.poll() not in (None, 0):
            raise Failed(f"{Path(str(command[0])).name} ended with {child.returncode}", child.communicate()[0])

    try:
        wait(lambda: mark in answer(f"{url}{edit.path}"), SERVED_WITHIN, alive, mark)
        taken = time.monotonic() - began
        child.communicate(timeout=SERVED_WITHIN)
        return taken
    finally:
        end(child)


def wait(true: Callable[[], bool], patience: float, alive: Callable[[], None], what: str) -> None:
    """Ask until something holds.

    Raises:
        Failed: it did not in time; or `alive` says why it never will.
    """
    limit = time.monotonic() + patience
    while not true():
        alive()
        if time.monotonic() > limit:
            raise Failed(f"{what} was not served within {patience:.0f} s")
        time.sleep(POLL)


def answer(url: str) -> str:
    """Return what an address answers; nothing where nothing does."""
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 - an address of our own
            return str(reply.read().decode())
    except OSError:
        return ""


@contextmanager
def composed(bench: Bench, workspace: Path, compose: Path) -> Iterator[tuple[str, Environment]]:
    """Run the same services by docker-compose, from the same Dockerfiles, bases and secrets; yield the API's URL."""
    port = bench.port()
    arguments = {name.upper().replace("-", "_"): ref for name, ref in lock_of(workspace).items()}
    services: dict[str, dict[str, object]] = {
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
    project = {"name": "bench-compose", "services": services, "secrets": {"ca": {"file": ".slipway/ca.pem"}}}
    (workspace / "compose.json").write_text(json.dumps(project), encoding="utf-8")
    plugins = workspace / ".slipway" / "docker" / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    (plugins / "docker-buildx").unlink(missing_ok=True)
    (plugins / "docker-buildx").symlink_to((workspace / ".slipway" / "bin" / "docker-buildx").resolve())
    environment: dict[str, str | None] = {
        **PLAIN,
        "COMPOSE_FILE": str(workspace / "compose.json"),
        "DOCKER_CONFIG": str(plugins.parent),
        "BUILDX_CONFIG": str(builder.buildx_folder()),
        "BUILDX_BUILDER": builder.BUILDER_NAME,
        "COMPOSE_BAKE": "true",
    }
    try:
        run([compose, "up", "--build", "--detach"], workspace, environment)
        yield f"http://127.0.0.1:{port}", environment
    finally:
        run([compose, "down", "--volumes", "--rmi", "local", "--timeout", "1"], workspace, environment)
