"""What `./run` does: the demo, the tests, the lint. Sessions share the .venv that `./run` made from locked packages."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import coverage
import nox

sys.path.insert(0, str(Path(__file__).parent))

import wheel_builder
from tests.tools_ahead import LOOK, AheadBuild

ROOT = Path(__file__).parent
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
DEMO = ROOT / "demo"
CODE = f"{ROOT / 'src'}{os.pathsep}{TEMPLATE}"
MEASURED = (ROOT / "src" / "slipway", TEMPLATE / "infra")  # whose lines `./run unit` counts
COVERAGE_GOAL, LITTLE_COVERAGE = 90, 80  # per cent

nox.options.default_venv_backend = "none"
TESTS = ["lint", "unit", "bake", "gate", "e2e", "kubernetes"]
WITH_TOOLS = ("gate", "e2e", "kubernetes")
FILES_SIDE_BY_SIDE = ("--numprocesses=auto", "--dist=loadfile")  # what a file's tests share is made once
TWO_WORKSPACES = ("--numprocesses=2", "--dist=loadfile")  # each has a workspace, so more would cost more than they save
TOOLS_LOG = ROOT / ".nox" / "tools.log"
AHEAD: list[AheadBuild] = []  # at most one
BESIDE: dict[str, subprocess.Popen[bytes]] = {}  # sessions that run in the background
nox.options.sessions = TESTS
# The template's folder is copied by every bake: no tool may leave compiled files or a cache in it.
os.environ.update(PYTHONDONTWRITEBYTECODE="1", RUFF_CACHE_DIR=str(ROOT / ".ruff_cache"))


@nox.session
def demo(session: nox.Session) -> None:
    """Generate demo/, build its images, deploy them, request every URL: ./run demo [--down] [--no-install]."""
    if "--down" in session.posargs:
        if DEMO.is_dir():
            _invoke(session, "down", "--yes", "--machine")
        else:
            session.log("There is no demo: nothing to remove.")
        return
    if not (DEMO / "workspace.toml").is_file():
        session.run("cookiecutter", str(ROOT), "--no-input", "--output-dir", str(ROOT))
    _invoke(session, "up", "--yes", *session.posargs)


@nox.session
def update(session: nox.Session) -> None:
    """Bring this template into a workspace: ./run update FOLDER [ARGUMENTS OF invoke update…]."""
    if not session.posargs:
        session.error("Name the workspace: ./run update FOLDER")
    folder, *words = session.posargs
    # ./run has left the folder that the user stands in.
    workspace = Path(os.environ.get("PWD", ROOT), folder)
    to = [] if any(word.partition("=")[0] in ("--to", "-t") for word in words) else ["--to", str(ROOT), "--yes"]
    command = ["python", "-m", "slipway.tasks", str(workspace), "update"]
    session.run(*command, *to, *words, env={"PYTHONPATH": str(ROOT / "src")})


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test: lint, unit, bake, the gate's steps, then end to end on the real Docker, Pulumi, Kubernetes.

    Those on Kubernetes run beside all but the end-to-end ones, which end the builder now and then; where its tools have
    to be built first, they run last.
    """
    _get_tools_ahead(session, WITH_TOOLS)
    names = list(TESTS)
    if not _selects_tests(session) and _has_tools("kubernetes"):
        _start_beside("kubernetes")
        names.remove("kubernetes")
        names.insert(names.index("e2e"), "kubernetes")
    for name in names:
        # What is covered is `./run unit`'s to say: to count lines takes minutes.
        session.notify(name, posargs=session.posargs or (["--no-cov"] if name == "unit" else []))


@nox.session
def lint(session: nox.Session) -> None:
    """Check the code where it stands: format, lint, types, which module imports which."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy", "local_extensions.py", "noxfile.py", "wheel_builder.py", env={"MYPYPATH": CODE})
    # bench/programs run in a generated workspace, whose modules are not here.
    session.run("mypy", "-p", "bench", "--exclude", "bench/programs/", env={"MYPYPATH": CODE})
    session.run("mypy", "-p", "slipway", "-p", "infra", "-m", "tasks", env={"MYPYPATH": CODE})
    session.run("lint-imports", "--no-cache", "--no-logo", env={"PYTHONPATH": CODE})


@nox.session
def pins(session: nox.Session) -> None:
    """Pin the bytes of tools whose version was changed in tools.toml: ./run pins TOOL…."""
    session.run(
        "python", "-m", "slipway._internal.toolchain.pins", *session.posargs, env={"PYTHONPATH": str(ROOT / "src")}
    )


@nox.session
def lock(session: nox.Session) -> None:
    """Renew what the locks of this repository and of new workspaces pin: ./run lock [ARGUMENTS OF uv pip compile…]."""
    uv = ["uv", "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-header"]
    built = wheel_builder.build_wheel(ROOT, Path(session.create_tmp()).resolve())
    # The engine's wheel is pinned when a workspace is generated.
    engine = ["--find-links", str(built.parent), "--no-emit-package", wheel_builder.read_project(ROOT)["name"]]
    with session.chdir(TEMPLATE):
        session.run(*uv, *engine, "-o", "requirements.txt", "requirements.in", *session.posargs, silent=True)
        locked = Path("requirements.txt")
        locked.write_text(
            locked.read_text(encoding="utf-8").partition("\n# The following packages")[0], encoding="utf-8"
        )
    session.run(
        *uv, "-o", "requirements-dev.txt", "pyproject.toml", "requirements-dev.in", *session.posargs, silent=True
    )


@nox.session
def unit(session: nox.Session) -> None:
    """Run the tests that need no engine, on all cores; without arguments, print which lines they cover."""
    if any(word.startswith("tests/unit") for word in session.posargs):
        _pytest(session, "tests/unit")
        return
    if session.posargs:
        _pytest(session, "tests/unit", "--numprocesses=auto")
        return
    data = ROOT / ".coverage"
    measured = [f"--cov={folder}" for folder in MEASURED]
    _pytest(session, "tests/unit", "--numprocesses=auto", *measured, "--cov-report=", env={"COVERAGE_FILE": str(data)})
    _print_coverage(data)


@nox.session
def bake(session: nox.Session) -> None:
    """Bake each choice and run the baked workspace's own checks, on all cores."""
    _pytest(session, "tests/bake", *FILES_SIDE_BY_SIDE)


@nox.session
def gate(session: nox.Session) -> None:
    """Run the gate's steps on the real Trivy, cosign and registries, good ones and hostile ones."""
    _get_tools(session, "gate")
    _pytest(session, "tests/gate")


@nox.session
def e2e(session: nox.Session) -> None:
    """Run generated workspaces on the real Docker engine, BuildKit, registry and Pulumi, two at a time."""
    _get_tools_ahead(session, ["gate"])
    _get_tools(session, "e2e")
    _pytest(session, "tests/e2e", *(() if _selects_tests(session) else TWO_WORKSPACES))


@nox.session
def session(session: nox.Session) -> None:
    """Record docs/session.svg anew, the terminal session in the README."""
    session.run("pytest", "tests/e2e/test_session.py", *session.posargs, env={"SLIPWAY_RECORD_SESSION": "1"})


@nox.session
def reliability(session: nox.Session) -> None:
    """Do to a stack under 200 requests a second all that is done to one: 10,000 requests in each event."""
    count = {"SLIPWAY_RELIABILITY_REQUESTS": "10000"}
    session.run("pytest", "tests/e2e/test_gateway_reliability.py", "-rP", *session.posargs, env=count)


@nox.session
def kubernetes(session: nox.Session) -> None:
    """Run a generated workspace on a real Kubernetes node, which is started for it where there is none."""
    if "kubernetes" in BESIDE:
        _finish_beside(session, "kubernetes")
        return
    _get_tools_ahead(session, ["gate"])
    _get_tools(session, "kubernetes")
    _pytest(session, "tests/kubernetes")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure Slipway beside its rivals, and write docs/benchmarks.md: ./run bench [-- FIGURE… --quick --list]."""
    session.run("python", "-m", "bench", *(word for word in session.posargs if word != "--"))


def _get_tools_ahead(session: nox.Session, suites: Sequence[str]) -> None:
    """Get in the background, to the end of this run at most, what suites need; not where only some tests are to run."""
    if not _selects_tests(session) and not AHEAD:
        TOOLS_LOG.parent.mkdir(exist_ok=True)
        AHEAD.append(AheadBuild(suites, TOOLS_LOG))
        atexit.register(AHEAD[0].end)


def _get_tools(session: nox.Session, suite: str) -> None:
    """Wait for the tools that a suite needs at once; one that cannot be had is the tests' to tell."""
    if not _selects_tests(session):
        command = ["python", "-m", "tests.tools_ahead", suite]
        session.run(*command, env={"PYTHONPATH": str(ROOT / "src")}, success_codes=[0, 1])


def _has_tools(suite: str) -> bool:
    """Whether all tools that a suite needs are there already."""
    command = [sys.executable, "-m", "tests.tools_ahead", LOOK, suite]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def _start_beside(name: str) -> None:
    """Run a session in a process of its own, which writes to a file; Ctrl-C ends it as it ends this one."""
    nox_command = [sys.executable, "-m", "nox", "--no-venv", "--noxfile", str(ROOT / "noxfile.py")]
    with _log_beside(name).open("wb") as log:
        BESIDE[name] = subprocess.Popen([*nox_command, "--session", name], stdout=log, stderr=subprocess.STDOUT)


def _finish_beside(session: nox.Session, name: str) -> None:
    """Wait for the end of a session that runs beside this one, and print what it printed; fail as it failed."""
    session.log(f"{name} has run beside the others since the start; waiting for its end.")
    code = BESIDE[name].wait()
    print(_log_beside(name).read_text(encoding="utf-8", errors="replace"), flush=True)
    if code:
        session.error(f"{name} failed beside the others: what it printed is above")


def _log_beside(name: str) -> Path:
    return TOOLS_LOG.with_name(f"{name}.log")


def _selects_tests(session: nox.Session) -> bool:
    return any(word.startswith(("tests/", "-k", "-m", "--lf", "--ff")) for word in session.posargs)


def _pytest(session: nox.Session, folder: str, *options: str, env: dict[str, str] | None = None) -> None:
    """Run a folder's tests; or only those that the arguments name by a path below it."""
    named = any(word.startswith(folder) for word in session.posargs)
    session.run("pytest", *([] if named else [folder]), *options, *session.posargs, env=env)


def _print_coverage(data: Path) -> None:
    """Print how many of the engine's lines the tests ran, and the modules of which they ran few."""
    measured = coverage.Coverage(data_file=data)
    measured.load()
    lines = covered = 0
    few = []
    for file in sorted(path for folder in MEASURED for path in folder.rglob("*.py") if "kinds" not in path.parts):
        _, statements, _, missing, _ = measured.analysis2(str(file))
        lines += len(statements)
        covered += len(statements) - len(missing)
        percent = 100 - 100 * len(missing) / max(len(statements), 1)
        if percent < LITTLE_COVERAGE:
            few.append(f"  {percent:3.0f} %  {file.relative_to(ROOT)} ({len(missing)} of {len(statements)} lines)")
    print(f"\nThe unit tests cover {100 * covered / lines:.1f} % of {lines} lines (goal: {COVERAGE_GOAL} %).")
    if few:
        print(f"Under {LITTLE_COVERAGE} % (what tests run in programs that they start is not counted):", *few, sep="\n")


def _invoke(session: nox.Session, *words: str) -> None:
    """Run a command of the demo, which goes on in the demo's own Python."""
    with session.chdir(DEMO):
        session.run("python", "tasks.py", *words)
