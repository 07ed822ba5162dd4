"""`invoke update` and requirements.txt: the engine's pin, and the team's own packages beside the template's."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.bake.history import INSIDE, History, brought, edit, git, save
from tests.conftest import TEMPLATE

from slipway._internal.scaffold import package_lock
from slipway._internal.scaffold.package_lock import COMMAND, compile_lock
from slipway._internal.scaffold.update import preview_update
from slipway._internal.scaffold.update_plan import UpdateRequest

SOURCE, LOCK = f"{INSIDE}/requirements.in", f"{INSIDE}/requirements.txt"
HEAD = "--find-links vendor\n\n"


def wheel(name: str, version: str, *needs: str) -> tuple[str, bytes]:
    """Return a wheel without code: its file's name, and its bytes."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {each}\n" for each in needs),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},"
        f"{len(text)}\n"
        for path, text in files.items()
    )
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return f"{name}-{version}-py3-none-any.whl", data.getvalue()


def pin(name: str, version: str, data: bytes, via: str = "-r requirements.in") -> str:
    digest = hashlib.sha256(data).hexdigest()
    return f"{name.replace('_', '-')}=={version} \\\n    --hash=sha256:{digest}\n    # via {via}\n"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the one package index that uv asks, with packages of the template and of a team."""
    folder = tmp_path / "index"
    for name, version in (("helper", "1.0"), ("helper", "2.0"), ("ours", "1.0"), ("ours", "1.1")):
        file, data = wheel(name, version)
        page = folder / name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        (page.parent / file).write_bytes(data)
        with page.open("a") as text:
            text.write(f'<a href="{file}">{file}</a>\n')
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    variables = {
        "UV_DEFAULT_INDEX": f"http://127.0.0.1:{server.server_port}/",
        "UV_CACHE_DIR": str(tmp_path / "uv"),
        "NO_PROXY": "127.0.0.1",
    }
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    yield folder
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    """Says nothing of what it is asked for."""

    def log_message(self, *_words: object) -> None: ...


def locked_files(index: Path, engine: str, helper: str) -> dict[str, str | bytes | None]:
    """Return a version's files: an engine, what asks for packages, and the lock."""
    file, data = wheel("slipway_workspace", engine, f"helper=={helper}")
    own = (index / "helper" / f"helper-{helper}-py3-none-any.whl").read_bytes()
    return {
        f"{INSIDE}/vendor/{file}": data,
        SOURCE: "# What this workspace needs.\nslipway-workspace\n",
        LOCK: HEAD + pin("helper", helper, own, "slipway-workspace") + pin("slipway_workspace", engine, data),
    }


@pytest.fixture
def locked(history: History, index: Path, tmp_path: Path) -> Path:
    """A workspace of a version whose engine needs a package."""
    gone = {f"{INSIDE}/vendor/slipway_workspace-1.0.0-py3-none-any.whl": None}
    history.release("1.1.0", {**gone, **locked_files(index, "1.1.0", "1.0")})
    return history.generate(tmp_path / "locked")


def next_version(history: History, index: Path) -> str:
    gone: dict[str, str | bytes | None] = {f"{INSIDE}/vendor/slipway_workspace-1.1.0-py3-none-any.whl": None}
    files = locked_files(index, "1.2.0", "2.0")
    history.release("1.2.0", {**gone, **files})
    text = files[LOCK]
    assert isinstance(text, str)
    return text


def add_own_package(workspace: Path, index: Path) -> None:
    (workspace / "requirements.in").open("a").write("ours\n")
    own = pin("ours", "1.0", (index / "ours" / "ours-1.0-py3-none-any.whl").read_bytes())
    edit(workspace, "requirements.txt", "slipway-workspace==", f"{own}slipway-workspace==")
    save(workspace)


def test_a_lock_without_changes_of_the_team_becomes_the_templates(
    history: History, index: Path, locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_lock, "compile_lock", None)
    expected = next_version(history, index)
    assert not brought(locked).notes
    assert (locked / "requirements.txt").read_text() == expected


def test_another_build_of_the_engine_is_no_change_of_the_teams(history: History, index: Path, locked: Path) -> None:
    edit(
        locked,
        "requirements.txt",
        "slipway-workspace==1.1.0 \\\n    --hash=sha256:",
        "slipway-workspace==1.1.1 \\\n  --hash=sha256:f",
    )
    save(locked)
    expected = next_version(history, index)
    done = brought(locked)
    assert not done.notes and not done.conflicts
    assert (locked / "requirements.txt").read_text() == expected


def test_packages_of_the_team_stay_and_the_lock_is_compiled_with_them(
    history: History, index: Path, locked: Path
) -> None:
    add_own_package(locked, index)
    expected = next_version(history, index)
    planned = preview_update(locked, UpdateRequest(), print, lambda _question: True)
    assert planned and planned.notes == [
        "requirements.txt will be recompiled, because you changed it or requirements.in"
    ]
    done = brought(locked)
    assert not done.notes and not done.conflicts
    assert (locked / "requirements.in").read_text().endswith("slipway-workspace\nours\n")
    text = (locked / "requirements.txt").read_text()
    own = pin("ours", "1.0", (index / "ours" / "ours-1.0-py3-none-any.whl").read_bytes())
    assert own in text, "with the version that the team had, though there is a newer one"
    assert text.replace(own, "") == expected


@pytest.mark.parametrize("why", ["no uv", "no index"])
def test_where_the_lock_cannot_be_compiled_the_command_is_told(
    history: History, index: Path, locked: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    add_own_package(locked, index)
    next_version(history, index)
    if why == "no uv":
        monkeypatch.setattr(package_lock.importlib.util, "find_spec", lambda _name: None)
        which = shutil.which
        monkeypatch.setattr(shutil, "which", lambda name: None if name == "uv" else which(name))
    else:
        shutil.rmtree(index)
    done = brought(locked)
    assert done.notes == [
        f"you changed requirements.in or requirements.txt: recompile the lock before you commit: {COMMAND}"
    ]
    assert "ours==1.0" in (locked / "requirements.txt").read_text() or done.conflicts


def test_a_lock_in_conflict_is_compiled_too(history: History, index: Path, locked: Path) -> None:
    edit(locked, "requirements.txt", "helper==1.0", "helper==1.0.1")
    edit(locked, "requirements.in", "# What this workspace needs.", "# What our workspace needs.")
    save(locked)
    expected = next_version(history, index)
    assert not brought(locked).conflicts
    assert (locked / "requirements.txt").read_text() == expected
    assert git(locked, "diff", "--name-only") == ""


def test_the_command_is_the_one_that_a_workspaces_own_file_names() -> None:
    assert f"# {COMMAND}\n" in (TEMPLATE / "requirements.in").read_text()


def test_without_packages_to_be_found_nothing_is_compiled(tmp_path: Path, index: Path) -> None:
    (tmp_path / "vendor").mkdir()
    (tmp_path / "requirements.in").write_text("nowhere-to-be-found\n")
    assert compile_lock(tmp_path) is None
