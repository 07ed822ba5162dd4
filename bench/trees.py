"""The workspaces and trees that are measured: generated, and filled with services of many small files."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.own_python import lend

from bench.process import run

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = Path(sys.executable).parent
INVOKE = ".venv/bin/invoke"
"""Invoke as a workspace's user has it, where it is run: in the workspace's folder."""
COOKIECUTTER = str(SCRIPTS / "cookiecutter")
FILES = 32
"""Of each service, its Dockerfile and service.toml among them."""
LIB_USERS = 10
"""How many services of a tree use its lib."""
LIB = "shared"
KEPT = "import json\n\n\ndef handle(event):\n    return json.dumps({{'who': '{0}', 'event': event}})\n"


def generate(folder: Path, name: str, **answers: str) -> Path:
    """Generate a workspace in a folder and return its own folder."""
    told = [f"{key}={value}" for key, value in {"project_slug": name, **answers}.items()]
    run([COOKIECUTTER, ROOT, "--no-input", "--output-dir", folder, *told], ROOT)
    lend(folder / name)
    return folder / name


def fill(workspace: Path, count: int, *, step: str = "", paused: bool = False) -> list[str]:
    """Give a workspace services of 32 files each, the first ten of which use one lib; return their names.

    Args:
        workspace: the workspace's folder.
        count: how many services.
        step: a RUN of each Dockerfile, which then starts from the base python-build; else they start from scratch.
        paused: give each a program that does nothing, from the lib `pause`, so that it can be deployed.
    """
    lib = workspace / "libs" / LIB
    lib.mkdir(parents=True, exist_ok=True)
    (lib / "shared.py").write_text(KEPT.format("lib"), encoding="utf-8")
    names = [f"s{number:04}" for number in range(count)]
    for number, name in enumerate(names):
        libs = ([LIB] if number < LIB_USERS else []) + (["pause"] if paused else [])
        service(workspace / "services" / name, libs, step)
    return names


SETTINGS = """\
kind = "worker"
libs = {}

[resources]
memory = "64m"
cpus = 1.0
"""


def service(folder: Path, libs: Sequence[str], step: str) -> None:
    """Write one service: its Dockerfile, its settings, and sources until there are 32 files."""
    sources = folder / "src"
    sources.mkdir(parents=True)
    (folder / "Dockerfile").write_text(dockerfile(libs, step), encoding="utf-8")
    (folder / "service.toml").write_text(SETTINGS.format(json.dumps(list(libs))), encoding="utf-8")
    for number in range(FILES - 2):
        text = KEPT.format(f"{folder.name}-{number}") * (1 + number % 5)
        (sources / f"part{number:02}.py").write_text(text, encoding="utf-8")


def dockerfile(libs: Iterable[str], step: str) -> str:
    """Return a service's Dockerfile: its sources and those of its libs, after a RUN where there is one."""
    lines = ["ARG PYTHON_BUILD=scratch", "FROM ${PYTHON_BUILD} AS run"] if step else ["FROM scratch AS run"]
    lines += [f"RUN {step}"] if step else []
    lines += ["COPY . /app"]
    lines += [f"COPY --from={lib} . /{lib}" for lib in libs]
    lines += ['ENTRYPOINT ["/pause/pause"]'] if "pause" in libs else []
    return "\n".join(lines) + "\n"


def touch(workspace: Path, name: str) -> None:
    """Change a line of a service's sources, or of the lib, to one that it never had before."""
    place = (
        workspace / "libs" / LIB / "shared.py" if name == LIB else workspace / "services" / name / "src" / "part00.py"
    )
    place.write_text(f"{KEPT.format(name)}# {time.time_ns()}\n", encoding="utf-8")


def nonce(workspace: Path) -> None:
    """Make every service of a tree one that no builder has seen: what its step reads, or its step, and its sources."""
    mark = str(time.time_ns())
    for folder in sorted((workspace / "services").glob("*/")):
        packages, requirements = folder / "package.json", folder / "requirements.txt"
        if packages.is_file():
            told = json.loads(packages.read_text(encoding="utf-8"))
            packages.write_text(json.dumps({**told, "description": f"{folder.name} {mark}"}, indent=2) + "\n")
        elif requirements.is_file():
            kept = [line for line in requirements.read_text(encoding="utf-8").splitlines() if "# cold" not in line]
            requirements.write_text("\n".join([f"# cold {folder.name} {mark}", *kept]) + "\n", encoding="utf-8")
        else:
            _new_step(folder / "Dockerfile", mark)
            touch(workspace, folder.name)


def _new_step(dockerfile: Path, mark: str) -> None:
    lines = [
        f"{line.partition(' #')[0]} # {mark}" if line.startswith("RUN ") else line
        for line in dockerfile.read_text(encoding="utf-8").splitlines()
    ]
    dockerfile.write_text("\n".join(lines) + "\n", encoding="utf-8")


def plain_copy(workspace: Path, into: Path) -> Path:
    """Copy a tree's services alone, for a rival that wants files of its own beside them."""
    shutil.copytree(workspace / "services", into / "services")
    return into
