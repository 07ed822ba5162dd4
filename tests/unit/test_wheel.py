"""The engine's wheel is one and the same wherever it is built, and what pip makes of it works."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from tests.conftest import ENGINE, ROOT
from wheel_builder import build_wheel, pin_wheel, sha256_of

from slipway import __version__

INFO = f"slipway_workspace-{__version__}.dist-info"
SOURCES = ("LICENSE", "pyproject.toml", "wheel_builder.py")
LITTER = ("__pycache__/a.cpython-311.pyc", "model/.mypy_cache/x", "kinds/node-web/node_modules/a/b.js", "x.pyc")


def copied(folder: Path) -> Path:
    """Return a copy of the repository, as far as the wheel is made of it."""
    for name in SOURCES:
        folder.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
    shutil.copytree(ENGINE, folder / "src" / "slipway", copy_function=shutil.copyfile, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with what the wheel is made of."""
    root = copied(tmp_path_factory.mktemp("repository") / "engine")
    who = ("-c", "user.name=ann", "-c", "user.email=ann@localhost")
    shutil.copyfile(ROOT / ".gitattributes", root / ".gitattributes")
    for words in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "--message", "The engine")):
        subprocess.run(["git", "-C", root, *words], check=True, capture_output=True)
    return root


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(repository, tmp_path_factory.mktemp("vendor"))


@pytest.mark.parametrize("umask", [0o002, 0o077])
@pytest.mark.parametrize("crlf", ["true", "false"])
def test_a_clone_gives_the_same_bytes(repository: Path, wheel: Path, tmp_path: Path, umask: int, crlf: str) -> None:
    clone = tmp_path / "elsewhere"
    before = os.umask(umask)
    try:
        subprocess.run(["git", "-c", f"core.autocrlf={crlf}", "clone", "--quiet", repository, clone], check=True)
        built = build_wheel(clone, tmp_path / "vendor")
    finally:
        os.umask(before)
    assert built.name == wheel.name
    assert built.read_bytes() == wheel.read_bytes()


def test_what_tools_leave_behind_and_times_change_nothing(wheel: Path, tmp_path: Path) -> None:
    root = copied(tmp_path / "used")
    for name in LITTER:
        path = root / "src" / "slipway" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for path in root.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o755)
    assert build_wheel(root, tmp_path / "vendor").read_bytes() == wheel.read_bytes()


def test_a_changed_source_is_another_wheel(wheel: Path, tmp_path: Path) -> None:
    root = copied(tmp_path / "changed")
    (root / "src" / "slipway" / "py.typed").write_text("partial\n")
    assert sha256_of(build_wheel(root, tmp_path / "vendor")) != sha256_of(wheel)


def test_pip_builds_the_same_wheel_of_a_folder_and_of_a_source_distribution(wheel: Path, tmp_path: Path) -> None:
    root = copied(tmp_path / "source")
    code = "from wheel_builder import Backend; print(Backend.build_sdist('.'))"
    sdist = subprocess.check_output([sys.executable, "-c", code], cwd=root, text=True).strip()
    with tarfile.open(root / sdist) as archive:
        assert {"PKG-INFO", "pyproject.toml", "src/slipway/py.typed"} < {
            name.partition("/")[2] for name in archive.getnames()
        }
    for number, source in enumerate((root, root / sdist)):
        folder = tmp_path / f"built-{number}"
        pip("wheel", "--no-deps", "--no-index", "--wheel-dir", folder, source)
        assert (folder / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_record_names_each_file_with_its_digest_and_size(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        rows = list(csv.reader(archive.read(f"{INFO}/RECORD").decode().splitlines()))
        assert rows.pop() == [f"{INFO}/RECORD", "", ""]
        assert {row[0] for row in rows} == {*archive.namelist()} - {f"{INFO}/RECORD"}
        for name, digest, size in rows:
            data = archive.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={expected}", str(len(data))), name
        assert all(entry.external_attr >> 16 == 0o100644 for entry in archive.infolist())


def test_it_holds_the_package_whole_and_nothing_else(wheel: Path) -> None:
    tracked = subprocess.check_output(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "src"], text=True
    ).splitlines()
    there = {name.removeprefix("src/") for name in tracked if (ROOT / name).is_file()}
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if not name.startswith(INFO)} == there


def test_its_metadata_is_valid(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        found = Metadata.from_email(archive.read(f"{INFO}/METADATA"), validate=True)
        assert archive.read(f"{INFO}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert (found.name, str(found.version)) == ("slipway-workspace", __version__)
    assert (found.license_expression, found.license_files) == ("Apache-2.0", ["LICENSE"])
    assert str(found.requires_python) == ">=3.11"
    assert found.provides_extra == ["azure"]
    extra = [str(each) for each in found.requires_dist or () if each.marker]
    assert extra == ['pulumi-azure-native<4,>=3.29; extra == "azure"'], "nothing of it is needed without the extra"


def test_pip_installs_it_and_its_programs_run(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    pip("--python", venv / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    program = "import slipway; from importlib import metadata, resources; "
    program += (
        "print(slipway.__version__, metadata.version('slipway-workspace'), resources.files('slipway') / 'py.typed')"
    )
    said = subprocess.check_output([venv / "bin" / "python", "-c", program], cwd=tmp_path, text=True).split()
    assert said[:2] == [__version__, __version__]
    assert Path(said[2]).is_file() and Path(said[2]).is_relative_to(venv)
    analyzer = venv / "bin" / "pulumi-analyzer-policy-slipway"
    assert subprocess.check_output([analyzer], env={"SLIPWAY_POLICY_PORT": "4711"}, text=True) == "4711\n"
    refused = subprocess.run([analyzer], env={}, capture_output=True, text=True, check=False)
    assert refused.returncode == 1 and "SLIPWAY_POLICY_PORT" in refused.stderr
    assert os.access(venv / "bin" / "pulumi-resource-slipway", os.X_OK)


def pip(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--isolated", *words], check=True, timeout=120)


LOCK = """\
requests==2 \\
    --hash=sha256:aa
    # via
    #   pulumi
    #   slipway-workspace
watchfiles==1 \\
    --hash=sha256:bb
    # via slipway-workspace
"""


def test_the_wheel_is_pinned_beside_the_others_once(wheel: Path, tmp_path: Path) -> None:
    own = f"slipway-workspace=={__version__} \\\n    --hash=sha256:{{}}\n    # via -r requirements.in\n"
    pinned = pin_wheel(LOCK, wheel)
    assert pinned == "--find-links vendor\n\n" + LOCK.replace("watchfiles", f"{own.format(sha256_of(wheel))}watchfiles")
    other = tmp_path / wheel.name
    other.write_bytes(b"another")
    assert pin_wheel(pinned, other) == pinned.replace(sha256_of(wheel), sha256_of(other))
    assert pin_wheel("--index-url x\n\n" + pinned, wheel) == "--index-url x\n\n" + pinned
