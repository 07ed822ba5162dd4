"""A workspace's tasks.py makes .venv from the lock, renews it, and goes on in it, whatever Python it was read by."""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import distribution
from pathlib import Path

import pytest
from tests.conftest import TEMPLATE

ENGINE = """\
import sys
from invoke import Collection, task

def verbs(root):
    @task
    def hello(context):
        print("hello from", {name!r}, "in", sys.prefix, "for", root)
    return Collection(hello)
"""
SECONDS = 300.0
MAKING = "Setting up "


@dataclass(frozen=True)
class Packages:
    """A registry's files, and two engines of one version, each with the lock that pins it."""

    invoke: Path
    engines: dict[str, Path]

    def lock(self, engine: str) -> str:
        pins = [
            ("invoke", distribution("invoke").version, self.invoke),
            ("slipway-workspace", "1", self.engines[engine]),
        ]
        lines = [f"{name}=={version} --hash=sha256:{sha256(file)}" for name, version, file in pins]
        return "\n".join(["--find-links vendor", *lines, ""])


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Invoke as it is installed here, and engines whose only verb says which one it is."""
    found, folder = distribution("invoke"), tmp_path_factory.mktemp("packages")
    invoke = folder / "invoke" / f"invoke-{found.version}-py3-none-any.whl"
    invoke.parent.mkdir()
    with zipfile.ZipFile(invoke, "w") as archive:
        for file in found.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                archive.write(Path(str(file.locate())), str(file))
    engines = {}
    for name in ("one", "two"):
        wheel = engines[name] = folder / name / "slipway_workspace-1-py3-none-any.whl"
        wheel.parent.mkdir()
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("slipway/__init__.py", "")
            archive.writestr("slipway/tasks.py", ENGINE.format(name=name))
            about = "slipway_workspace-1.dist-info"
            archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: slipway-workspace\nVersion: 1\n")
            archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{about}/RECORD", "slipway/__init__.py,,\nslipway/tasks.py,,\n")
    return Packages(invoke, engines)


@dataclass(frozen=True)
class Small:
    """A workspace of tasks.py, a lock and vendor/."""

    root: Path
    packages: Packages

    def pin(self, engine: str) -> None:
        (self.root / "vendor").mkdir(exist_ok=True)
        for file in (self.packages.invoke, self.packages.engines[engine]):
            shutil.copyfile(file, self.root / "vendor" / file.name)
        (self.root / "requirements.txt").write_text(self.packages.lock(engine))

    def start(self, *command: str | Path, folder: str = ".", **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command or (sys.executable, "tasks.py", "hello"),
            cwd=self.root / folder,
            env={**os.environ, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str | Path, code: int = 0, folder: str = ".", **variables: str) -> tuple[str, str]:
        child = self.start(*command, folder=folder, **variables)
        out, errors = child.communicate(timeout=SECONDS)
        assert child.returncode == code, out + errors
        assert "Traceback" not in errors, errors
        return out, errors

    def hello(self, engine: str) -> str:
        return f"hello from {engine} in {self.root / '.venv'} for {self.root}\n"

    @property
    def stamp(self) -> Path:
        return self.root / ".venv" / "made-from"


@pytest.fixture
def small(tmp_path: Path, packages: Packages) -> Small:
    """A workspace that nothing was made in, in a folder with a blank in its name."""
    root = tmp_path / "the shop"
    root.mkdir()
    shutil.copyfile(TEMPLATE / "tasks.py", root / "tasks.py")
    (root / "services").mkdir()
    workspace = Small(root, packages)
    workspace.pin("one")
    return workspace


def test_it_is_made_once_and_renewed_when_the_lock_has_changed(small: Small) -> None:
    at_once = [child.communicate(timeout=SECONDS) for child in [small.start(), small.start()]]
    assert [out for out, _ in at_once] == [small.hello("one")] * 2
    assert sorted(errors.count(MAKING) for _, errors in at_once) == [0, 1]
    for command in (
        (sys.executable, "-m", "invoke", "hello"),
        (small.root / ".venv" / "bin" / "invoke", "hello"),
        (small.root / ".venv" / "bin" / "python", small.root / "tasks.py", "hello"),
    ):
        assert small.run(*command, folder="services") == (small.hello("one"), "")
    kept = small.root / ".venv" / "a-users-own"
    kept.touch()
    small.pin("two")
    out, errors = small.run(small.root / ".venv" / "bin" / "invoke", "hello")
    assert out == small.hello("two") and errors.startswith(MAKING)
    assert kept.exists(), "what is there already is not installed anew"
    assert small.run() == (small.hello("two"), "")


def test_a_failed_install_is_told_and_tried_again(small: Small) -> None:
    lock = small.root / "requirements.txt"
    good = lock.read_text()
    lock.unlink()
    assert "remedy  Restore requirements.txt from git" in small.run(code=1)[1]
    lock.write_text(good.replace("sha256:", "sha256:0000")[: len(good)])
    out, errors = small.run(code=1)
    assert out == "" and "… failed" in errors and "remedy" in errors
    assert not small.stamp.exists()
    lock.write_text(good)
    assert small.run()[0] == small.hello("one")


def test_ctrl_c_ends_it_in_order_and_a_kill_leaves_nothing_that_counts_as_made(small: Small) -> None:
    child = small.start()
    assert child.stderr and child.stderr.readline().startswith(MAKING)
    os.killpg(child.pid, signal.SIGINT)
    errors = child.communicate(timeout=SECONDS)[1]
    assert child.returncode == 130
    assert "Stopped." in errors and "tasks.py" not in errors
    assert not small.stamp.exists()
    child = small.start()
    assert child.stderr and child.stderr.readline().startswith(MAKING)
    child.kill()  # what it has started goes on, and is waited for
    child.communicate(timeout=SECONDS)
    assert not small.stamp.exists()
    assert small.run()[0] == small.hello("one")


def test_one_that_was_moved_is_made_anew_and_so_is_one_whose_python_went(small: Small) -> None:
    small.run()
    moved = Small(small.root.rename(small.root.with_name("moved")), small.packages)
    out, errors = moved.run()
    assert out == moved.hello("one") and errors.startswith(MAKING)
    python = moved.root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    out, errors = moved.run()
    assert out == moved.hello("one") and errors.startswith(MAKING)


@pytest.fixture
def index(packages: Packages) -> Iterator[str]:
    """A package registry on this machine that has Invoke."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(packages.invoke.parents[1]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_registries_and_vendor_are_all_it_needs_whatever_variables_and_proxies_there_are(
    small: Small, index: str
) -> None:
    (small.root / "vendor" / small.packages.invoke.name).unlink()
    elsewhere = str(small.root / "elsewhere")
    variables = dict.fromkeys(("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"), elsewhere)
    variables |= {"PYTHONHOME": sys.base_prefix, "PIP_USER": "1", "PIP_NO_DEPS": "1", "PIP_DRY_RUN": "1"}
    variables |= dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    variables |= {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": index, "PIP_NO_CACHE_DIR": "1"}
    assert small.run(Path(sys.executable).resolve(), "tasks.py", "hello", **variables)[0] == small.hello("one")
    assert not Path(elsewhere).exists()
