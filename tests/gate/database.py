"""A small vulnerability database that Trivy takes for its own: written by trivy-db, pushed as its registry has it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from slipway._internal.run.process import run
from slipway._internal.toolchain.locking import file_lock

SOURCE = Path(__file__).parent / "trivydb"
KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway-tests" / "trivydb"
CONFIG = "application/vnd.aquasec.trivy.config.v1+json"
LAYER = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"

DEBIAN = ("debian 13", "debian")
PIP = ("pip::GitHub Security Advisory Pip", "ghsa")
NPM = ("npm::GitHub Security Advisory Npm", "ghsa")


@dataclass(frozen=True)
class Advisory:
    """One thing that the database knows; `fixed` is the version in which it is mended, empty where there is none."""

    id: str
    package: str
    severity: str = "CRITICAL"
    fixed: str = ""
    origin: tuple[str, str] = DEBIAN
    title: str = "something is wrong"


def make(
    folder: Path,
    advisories: Iterable[Advisory] = (),
    *,
    next_update: datetime | None = None,
    updated: datetime | None = None,
) -> Path:
    """Make a cache folder for Trivy with a database in it, and return it; by itself it is of this hour."""
    now = datetime.now(UTC)
    description = {
        "advisories": [
            {
                **{key: value for key, value in asdict(each).items() if key != "origin"},
                "platform": each.origin[0],
                "source": each.origin[1],
                "vulnerable": [] if each.fixed or each.origin == DEBIAN else [">=0"],
            }
            for each in advisories
        ],
        "next_update": (next_update or now + timedelta(days=1)).isoformat(),
        "updated": (updated or now).isoformat(),
    }
    (folder / "db").mkdir(parents=True)
    made = subprocess.run(
        [program(), str(folder / "db")], input=json.dumps(description), text=True, capture_output=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return folder


def program() -> Path:
    """Return the program that writes databases, built once for each state of its source."""
    files = sorted(each for each in SOURCE.iterdir() if each.is_file())
    state = hashlib.sha256(b"".join(each.read_bytes() for each in files)).hexdigest()[:16]
    binary = KEPT / state / "trivydb"
    with file_lock(KEPT / "lock", lambda: None):
        if not binary.is_file():
            work, new = KEPT / f"{state}.src", KEPT / f"{state}.new"
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(SOURCE, work)
            env = {"GOWORK": "off", "GOFLAGS": "-buildvcs=false"}
            built = run(["go", "build", "-mod=mod", "-o", new, "."], cwd=work, env=env, timeout=900)
            assert built.code == 0, built.output
            binary.parent.mkdir(exist_ok=True)
            new.replace(binary)
            shutil.rmtree(work)
    return binary


def push(cache: Path, ref: str) -> None:
    """Push a cache folder's database to a registry without TLS, as `host:port/repository:tag`, for a mirror."""
    host, _, rest = ref.partition("/")
    repository, _, tag = rest.rpartition(":")
    config, layer = b"{}", _archive(cache / "db")
    for content in (config, layer):
        _upload(host, repository, content)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(CONFIG, config),
        "layers": [
            {**_descriptor(LAYER, layer), "annotations": {"org.opencontainers.image.title": "db.tar.gz"}},
        ],
    }
    _request("PUT", f"http://{host}/v2/{repository}/manifests/{tag}", json.dumps(manifest).encode(), MANIFEST)


def _archive(folder: Path) -> bytes:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as out, tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("trivy.db", "metadata.json"):
            archive.add(folder / name, name)
    return packed.getvalue()


def _descriptor(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}


def _upload(host: str, repository: str, content: bytes) -> None:
    upload_url = _request("POST", f"http://{host}/v2/{repository}/blobs/uploads/", b"")
    join = "&" if "?" in upload_url else "?"
    digest = hashlib.sha256(content).hexdigest()
    _request("PUT", f"{upload_url}{join}digest=sha256:{digest}", content, "application/octet-stream")


def _request(method: str, url: str, body: bytes, kind: str = "application/octet-stream") -> str:
    request = urllib.request.Request(url, body, {"Content-Type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.headers.get("Location", ""))
