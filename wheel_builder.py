"""Builds the engine's wheel with Python's own library alone: one commit gives the same bytes on any machine.

The template puts that wheel into a new workspace's vendor/, and pip builds the same one: see pyproject.toml.
"""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import re
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

EPOCH = (1980, 1, 1, 0, 0, 0)
"""When everything in a wheel was changed last: the first day that a ZIP archive knows."""
LEFT_OUT = (
    "__pycache__",
    "*.py[co]",
    ".*_cache",
    ".hypothesis",
    ".slipway",
    ".venv",
    "node_modules",
    ".DS_Store",
)
"""What tools leave beside the sources."""
FIND_LINKS = "--find-links vendor\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: slipway\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel(repository: Path, folder: Path) -> Path:
    """Build the engine of a repository into a folder, and return the wheel's path.

    Only sources decide its bytes: names are sorted, times and modes fixed, and nothing is compressed, since libraries
    compress differently.
    """
    project = read_project(repository)
    info = f"{_stem(project)}.dist-info"
    content = {f"{info}/{name}": text.encode() for name, text in _metadata(project).items()}
    content[f"{info}/licenses/LICENSE"] = (repository / "LICENSE").read_bytes()
    content |= {path.relative_to(repository / "src").as_posix(): path.read_bytes() for path in _sources(repository)}
    content[f"{info}/RECORD"] = _record(content, f"{info}/RECORD").encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{_stem(project)}-py3-none-any.whl"
    partial = wheel.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(content, key=lambda name: (name.startswith(info), name)):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, content[name])
    partial.replace(wheel)
    return wheel


def sha256_of(wheel: Path) -> str:
    """Return a file's digest as pip takes it."""
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def pin_wheel(requirements: str, wheel: Path) -> str:
    """Return a workspace's requirements.txt with this wheel in vendor/ pinned, as `uv pip compile` would write it."""
    stem, version, *_ = wheel.name.split("-")
    name = stem.replace("_", "-")
    own = f"{name}=={version} \\\n    --hash=sha256:{sha256_of(wheel)}\n    # via -r requirements.in\n"
    others = re.sub(rf"^{name}==.*\n( .*\n)*", "", requirements, flags=re.MULTILINE)
    names = re.finditer(r"^([a-z0-9][a-z0-9-]*)==", others, flags=re.MULTILINE)
    place = next((found.start() for found in names if found[1] > name), len(others))
    pinned = f"{others[:place]}{own}{others[place:]}"
    return pinned if FIND_LINKS in pinned else f"{FIND_LINKS}\n{pinned}"


def read_project(repository: Path) -> dict[str, Any]:
    """Return what pyproject.toml says of the distribution, with the version that the package itself has."""
    project: dict[str, Any] = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    package = (repository / "src" / "slipway" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "([^"]+)"$', package, re.MULTILINE)
    assert version, "src/slipway/__init__.py says no __version__"
    return {**project, "version": version[1]}


def _stem(project: Mapping[str, Any]) -> str:
    """Return how the names of the distribution's files begin."""
    return f"{re.sub(r'[-_.]+', '_', project['name']).lower()}-{project['version']}"


def _sources(repository: Path) -> Iterator[Path]:
    """Yield the package's files; what tools left behind is none."""
    for path in sorted((repository / "src" / "slipway").rglob("*")):
        inside = path.relative_to(repository).parts
        if path.is_file() and not any(fnmatch(part, pattern) for part in inside for pattern in LEFT_OUT):
            yield path


def _metadata(project: Mapping[str, Any]) -> dict[str, str]:
    """Return the files that describe the distribution, by name; the record of all files comes last of all."""
    fields = [
        ("Metadata-Version", "2.4"),
        ("Name", project["name"]),
        ("Version", project["version"]),
        ("Summary", project["description"]),
        *(("Author", author["name"]) for author in project["authors"]),
        ("License-Expression", project["license"]),
        ("License-File", "LICENSE"),
        *(("Classifier", classifier) for classifier in project["classifiers"]),
        ("Requires-Python", project["requires-python"]),
        *(("Requires-Dist", dependency) for dependency in project["dependencies"]),
        *(field for extra in project.get("optional-dependencies", {}).items() for field in _extra_fields(*extra)),
    ]
    scripts = "".join(f"{name} = {target}\n" for name, target in sorted(project["scripts"].items()))
    return {
        "METADATA": "".join(f"{name}: {value}\n" for name, value in fields),
        "WHEEL": WHEEL,
        "entry_points.txt": f"[console_scripts]\n{scripts}",
    }


def _extra_fields(extra: str, dependencies: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield what says of an extra that it is there, and what it needs."""
    yield "Provides-Extra", extra
    for dependency in dependencies:
        yield "Requires-Dist", f'{dependency}; extra == "{extra}"'


def _record(content: Mapping[str, bytes], own: str) -> str:
    """Return the list of a wheel's files with their digests and sizes; `own` is its own name in it."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for name, data in sorted(content.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.writerow((name, f"sha256={digest}", len(data)))
    rows.writerow((own, "", ""))
    return text.getvalue()


class Backend:
    """What pip and `python -m build` call, by the names that they give (PEP 517)."""

    @staticmethod
    def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: object = None) -> str:
        return build_wheel(Path.cwd(), Path(wheel_directory)).name

    @staticmethod
    def build_sdist(sdist_directory: str, config_settings: object = None) -> str:
        """Pack what the wheel is built from."""
        repository = Path.cwd()
        project = read_project(repository)
        content = {"PKG-INFO": _metadata(project)["METADATA"].encode()}
        for path in (repository / "LICENSE", repository / "pyproject.toml", Path(__file__), *_sources(repository)):
            content[path.relative_to(repository).as_posix()] = path.read_bytes()
        name = f"{_stem(project)}.tar.gz"
        with (
            (Path(sdist_directory) / name).open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for inside, data in sorted(content.items()):
                entry = tarfile.TarInfo(f"{_stem(project)}/{inside}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        return name
