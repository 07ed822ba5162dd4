"""The vendor's release, served by a mirror on this machine: what comes in, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from slipway.toolchain import release
from slipway.toolchain.data import Release, Tool
from slipway.toolchain.find import NotHad
from slipway.toolchain.release import digest_in, from_release, reachable

ASSET = "tool-1.0.0-amd64.tar.gz"
DOWNLOADS = "/acme/tool/releases/download/v1.0.0"
API = "/repos/acme/tool/releases/tags/v1.0.0"
LINES: list[str] = []


class Mirror:
    """Answers by path; `cut` announces the whole length and sends half."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.url = ""

    def asset(self, content: bytes, name: str = ASSET, *, digest: str | None = None) -> None:
        self.files[f"{DOWNLOADS}/{name}"] = content
        sha = digest if digest is not None else f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.files[API] = json.dumps({"assets": [{"name": name, "digest": sha or None}]}).encode()


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    served = Mirror()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = served.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write((content or b"")[: len(content or b"") // 2 if self.path in served.cut else None])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv(release.MIRROR, f"{served.url}/")
    monkeypatch.setattr(release.platform, "machine", lambda: "x86_64")
    yield served
    server.shutdown()
    server.server_close()


def tar(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./bin/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def tool(**changes: object) -> Tool:
    values: dict[str, object] = {
        "members": {"tool": "bin/tool", "helper": "bin/helper"},
        "optional": ("helper",),
    }
    asset = "tool-1.0.0-{arch}.tar.gz"
    return Tool("tool", "1.0.0", ("tool",), release=Release("acme/tool", "v1.0.0", asset, **{**values, **changes}))  # type: ignore[arg-type]


def get(each: Tool, into: Path) -> list[str]:
    into.mkdir(exist_ok=True)
    from_release(each, into, LINES.append)
    return sorted(path.name for path in into.iterdir())


def test_the_named_members_of_an_archive_come_in_and_can_be_run(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(tar(tool=b"program", helper=b"h", other=b"o"))
    assert get(tool(), tmp_path / "new") == ["helper", "tool"]
    assert (tmp_path / "new" / "tool").read_bytes() == b"program"
    assert (tmp_path / "new" / "tool").stat().st_mode & 0o777 == 0o755


def test_a_member_that_may_be_missing_may_be_missing(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(tar(tool=b"program"))
    assert get(tool(), tmp_path / "new") == ["tool"]


def test_a_member_that_must_be_there_is_missed_by_name(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(tar(helper=b"h"))
    with pytest.raises(NotHad, match="holds no bin/tool"):
        get(tool(), tmp_path / "new")


def test_an_asset_without_members_is_the_program_itself(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(b"program")
    assert get(tool(members={}), tmp_path / "new") == ["tool"]


def test_another_digest_than_the_published_one_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(tar(tool=b"program"), digest=f"sha256:{'0' * 64}")
    with pytest.raises(NotHad, match="refused"):
        get(tool(), tmp_path / "new")
    assert not (tmp_path / "new" / "tool").exists()


def test_a_download_that_is_cut_short_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(tar(tool=b"program" * 1000))
    mirror.cut.add(f"{DOWNLOADS}/{ASSET}")
    with pytest.raises(NotHad, match=r"cut short|broke off"):
        get(tool(), tmp_path / "new")


def test_without_a_digest_in_the_api_the_file_of_sums_decides(mirror: Mirror, tmp_path: Path) -> None:
    content = tar(tool=b"program")
    mirror.asset(content, digest="")
    mirror.files[f"{DOWNLOADS}/sums.txt"] = f"{hashlib.sha256(content).hexdigest()}  {ASSET}\n".encode()
    assert get(tool(checksums="sums.txt"), tmp_path / "new") == ["tool"]


def test_what_has_no_published_digest_never_comes_in(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(tar(tool=b"program"), digest="")
    with pytest.raises(NotHad, match="no digest"):
        get(tool(), tmp_path / "new")


def test_a_release_that_is_not_there_says_what_the_server_said(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(NotHad, match="answers 404"):
        get(tool(), tmp_path / "new")
    assert reachable()


def test_a_host_that_does_not_answer_is_asked_once_for_all_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(release.MIRROR, "http://127.0.0.1:9")
    monkeypatch.setattr(release.platform, "machine", lambda: "x86_64")
    with pytest.raises(NotHad, match="cannot be reached"):
        get(tool(), tmp_path / "new")
    with pytest.raises(NotHad, match="a moment ago"):
        get(tool(), tmp_path / "new")
    assert not reachable()


def test_a_mirror_that_is_no_web_address_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(release.MIRROR, "file:///srv")
    with pytest.raises(NotHad, match="must begin with https"):
        get(tool(), tmp_path / "new")


def test_a_machine_that_vendors_build_nothing_for_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release.platform, "machine", lambda: "riscv64")
    with pytest.raises(NotHad, match="riscv64"):
        get(tool(), tmp_path / "new")


@pytest.mark.parametrize(
    "sums",
    [
        "{sha}  ./dist/{name}\n",
        "{other}  else\n{sha} *{name}\n",
        "{sha}\n",
        "{upper}  {name}\n",
        "# sums\n{sha}  {name}",
    ],
)
def test_the_usual_forms_of_a_file_of_sums_are_read(sums: str) -> None:
    sha = "ab" * 32
    text = sums.format(sha=sha, upper=sha.upper(), other="cd" * 32, name=ASSET)
    assert digest_in(text, ASSET) == sha


def test_a_file_of_sums_that_names_only_others_gives_nothing() -> None:
    assert digest_in(f"{'ab' * 32}  other.tar.gz\n<html>", ASSET) is None


BASE = Tool("kube", "1.0.0", ("kubectl", "kubelet"), release=Release(base="https://dl.example/v1.0.0/bin/linux/{arch}"))


def test_a_vendor_s_own_place_brings_each_binary_with_its_digest_beside_it(mirror: Mirror, tmp_path: Path) -> None:
    for name in BASE.binaries:
        mirror.files[f"/v1.0.0/bin/linux/amd64/{name}"] = name.encode()
        mirror.files[f"/v1.0.0/bin/linux/amd64/{name}.sha256"] = hashlib.sha256(name.encode()).hexdigest().encode()
    assert get(BASE, tmp_path / "new") == ["kubectl", "kubelet"]
    assert (tmp_path / "new" / "kubelet").stat().st_mode & 0o777 == 0o755


def test_a_binary_with_another_digest_than_the_one_beside_it_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["/v1.0.0/bin/linux/amd64/kubectl"] = b"changed"
    mirror.files["/v1.0.0/bin/linux/amd64/kubectl.sha256"] = hashlib.sha256(b"kubectl").hexdigest().encode()
    with pytest.raises(NotHad, match="refused kubectl"):
        get(BASE, tmp_path / "new")


def test_a_member_s_path_may_hold_the_architecture(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(tar(amd64=b"program"))
    assert get(tool(members={"tool": "bin/{arch}"}), tmp_path / "new") == ["tool"]
