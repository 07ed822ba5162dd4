"""A workspace is the same from wherever its template came, also by a cookiecutter that knows no other package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tests.bake.generate import files_of
from tests.conftest import ROOT

SOURCES = ("folder", "file", "git+file", "zip")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository with the template as it is here, a checkout and a zip file of it beside it."""
    folder = tmp_path_factory.mktemp("template")
    checkout = folder / "slipway"
    listed = subprocess.check_output(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], text=True
    )
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_bytes((ROOT / name).read_bytes())
    who = ("-c", "user.name=ann", "-c", "user.email=ann@localhost")
    for words in (
        ("init", "--quiet"),
        ("add", "."),
        (*who, "commit", "--quiet", "--message", "The template"),
        ("clone", "--quiet", "--bare", ".", str(folder / "bare.git")),
        ("archive", "--format", "zip", "--prefix", "slipway/", "--output", str(folder / "slipway.zip"), "HEAD"),
    ):
        subprocess.run(["git", "-C", checkout, *words], check=True)
    return folder / "bare.git"


@pytest.fixture(scope="module")
def cookiecutter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with cookiecutter and what it needs, as pipx makes one; and nothing else."""
    venv = tmp_path_factory.mktemp("pipx") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    packages = next((venv / "lib").glob("python*")) / "site-packages"
    for name in needed_by("cookiecutter", set()):
        found = distribution(name)
        tops = {file.parts[0] for file in found.files or () if file.parts[0] != ".."}
        for top in tops:
            (packages / top).symlink_to(Path(str(found.locate_file(top))))
    return venv / "bin" / "python"


def needed_by(name: str, known: set[str]) -> set[str]:
    """Return a distribution's name and those of all that it needs here."""
    try:
        requires = distribution(name).requires or []
    except PackageNotFoundError:  # only for other machines than this one
        return known
    known.add(name)
    for each in map(Requirement, requires):
        if each.name.lower() not in known and (each.marker is None or each.marker.evaluate({"extra": ""})):
            needed_by(each.name.lower(), known)
    return known


def test_a_workspace_is_the_same_from_a_folder_a_repository_and_a_zip(
    repository: Path, cookiecutter: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(f"cookiecutters_dir: {tmp_path / 'templates'}\n")
    generated = {}
    for source in SOURCES:
        template, folder = {
            "folder": ("slipway", repository.parent),  # a relative path, from another folder than the workspace's
            "file": (f"file://{repository}", tmp_path),
            "git+file": (f"git+file://{repository}", tmp_path),
            "zip": (str(repository.parent / "slipway.zip"), tmp_path),
        }[source]
        done = subprocess.run(
            [cookiecutter, "-P", "-m", "cookiecutter", template, "--no-input", "--output-dir", tmp_path / source],
            cwd=folder,
            env={**os.environ, "COOKIECUTTER_CONFIG": str(tmp_path / "config.yaml"), "PIP_NO_INDEX": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        (workspace,) = (tmp_path / source).iterdir()
        generated[source] = {name: path.read_bytes() for name, path in files_of(workspace).items()}
    assert any(name.startswith("vendor/slipway_workspace-") for name in generated["folder"])
    records = {source: json.loads(files.pop(".cruft.json")) for source, files in generated.items()}
    commit = subprocess.check_output(["git", "-C", repository, "rev-parse", "HEAD"], text=True).strip()
    assert {source: (record["template"], record["commit"]) for source, record in records.items()} == {
        "folder": (str(repository.parent / "slipway"), commit),
        "file": (f"file://{repository}", commit),
        "git+file": (f"file://{repository}", commit),
        "zip": (str(repository.parent / "slipway.zip"), None),
    }
    for source in SOURCES[1:]:
        assert generated[source] == generated["folder"], source
