"""The vendor's release, served by a mirror on this machine: what comes in, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from slipway._internal.toolchain import vendor_release
from slipway._internal.toolchain.installed_tools import ToolUnavailable
from slipway._internal.toolchain.tool_catalog import Tool, VendorRelease
from slipway._internal.toolchain.vendor_release import install_from_release, is_reachable

ASSET = "tool-1.0.0-amd64.tar.gz"
DOWNLOADS = "/acme/tool/releases/download/v1.0.0"
LINES: list[str] = []
PINS = {ASSET: "0" * 64}


class Mirror:
    """Answers by path; `cut` announces the whole length and sends half; `pins` is what tools.toml says."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.asked: list[str] = []
        self.pins: dict[str, str] = {}
        self.url = ""

    def asset(self, content: bytes, name: str = ASSET) -> None:
        self.files[f"{DOWNLOADS}/{name}"] = content
        self.pins[name] = hashlib.sha256(content).hexdigest()


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    served = Mirror()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
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
    monkeypatch.setenv(vendor_release.MIRROR_VARIABLE, f"{served.url}/")
    monkeypatch.setattr(vendor_release.platform, "machine", lambda: "x86_64")
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
    return Tool(
        "tool", "1.0.0", ("tool",), release=VendorRelease("acme/tool", "v1.0.0", asset, **{**values, **changes})
    )  # type: ignore[arg-type]


def get(each: Tool, into: Path, pins: dict[str, str], of: str = "1.0.0") -> list[str]:
    into.mkdir(exist_ok=True)
    assert each.release
    release = replace(each.release, sha256=pins, sha256_of=of)
    install_from_release(replace(each, release=release), into, LINES.append)
    return sorted(path.name for path in into.iterdir())


def test_the_named_members_of_an_archive_come_in_and_can_be_run(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(tar(tool=b"program", helper=b"h", other=b"o"))
    assert get(tool(), tmp_path / "new", mirror.pins) == ["helper", "tool"]
    assert (tmp_path / "new" / "tool").read_bytes() == b"program"
    assert (tmp_path / "new" / "tool").stat().st_mode & 0o777 == 0o755


def test_a_member_that_may_be_missing_may_be_missing(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(tar(tool=b"program"))
    assert get(tool(), tmp_path / "new", mirror.pins) == ["tool"]


def test_a_member_that_must_be_there_is_missed_by_name(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(tar(helper=b"h"))
    with pytest.raises(ToolUnavailable, match="holds no bin/tool"):
        get(tool(), tmp_path / "new", mirror.pins)


def test_an_asset_without_members_is_the_program_itself(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(b"program")
    assert get(tool(members={}), tmp_path / "new", mirror.pins) == ["tool"]


def test_other_bytes_than_the_pinned_ones_are_refused_whoever_vouches_for_them(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(tar(tool=b"program"))
    changed = tar(tool=b"changed")
    digest = hashlib.sha256(changed).hexdigest()
    mirror.files[f"{DOWNLOADS}/{ASSET}"] = changed
    mirror.files[f"{DOWNLOADS}/sums.txt"] = f"{digest}  {ASSET}\n".encode()
    mirror.files["/repos/acme/tool/releases/tags/v1.0.0"] = json.dumps(
        {"assets": [{"name": ASSET, "digest": f"sha256:{digest}"}]}
    ).encode()
    with pytest.raises(ToolUnavailable, match=f"refused {ASSET}: its SHA-256 is {digest}, tools.toml pins"):
        get(tool(checksums="sums.txt"), tmp_path / "new", mirror.pins)
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(("pins", "of"), [({}, ""), ({"other": "0" * 64}, "1.0.0"), ({ASSET: "0" * 64}, "0.9.0")])
def test_what_has_no_pin_for_this_version_is_not_even_asked_for(
    mirror: Mirror, tmp_path: Path, pins: dict[str, str], of: str
) -> None:
    mirror.asset(tar(tool=b"program"))
    with pytest.raises(ToolUnavailable, match=r"not taken: tools\.toml pins"):
        get(tool(), tmp_path / "new", pins, of)
    assert mirror.asked == []


def test_a_download_that_is_larger_than_any_tool_is_left(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.asset(tar(tool=b"program"))
    monkeypatch.setattr(vendor_release.download, "__defaults__", (10,))
    with pytest.raises(ToolUnavailable, match="larger than"):
        get(tool(), tmp_path / "new", mirror.pins)


def test_a_download_that_takes_too_long_is_left(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.asset(tar(tool=b"program"))
    monkeypatch.setattr(vendor_release, "DOWNLOAD_SECONDS", -1.0)
    with pytest.raises(ToolUnavailable, match="takes longer"):
        get(tool(), tmp_path / "new", mirror.pins)


def test_a_program_for_another_processor_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(tar(tool=b"\x7fELF".ljust(18, b"\0") + (183).to_bytes(2, "little")))
    with pytest.raises(ToolUnavailable, match="another processor"):
        get(tool(), tmp_path / "new", mirror.pins)


def test_a_download_that_is_cut_short_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(tar(tool=b"program" * 1000))
    mirror.cut.add(f"{DOWNLOADS}/{ASSET}")
    with pytest.raises(ToolUnavailable, match=r"cut short|broke off"):
        get(tool(), tmp_path / "new", mirror.pins)


def test_a_release_that_is_not_there_says_what_the_server_said(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(ToolUnavailable, match="answers 404"):
        get(tool(), tmp_path / "new", PINS)
    assert is_reachable()


def test_a_host_that_does_not_answer_is_asked_once_for_all_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(vendor_release.MIRROR_VARIABLE, "http://127.0.0.1:9")
    monkeypatch.setattr(vendor_release.platform, "machine", lambda: "x86_64")
    with pytest.raises(ToolUnavailable, match="cannot be reached"):
        get(tool(), tmp_path / "new", PINS)
    with pytest.raises(ToolUnavailable, match="a moment ago"):
        get(tool(), tmp_path / "new", PINS)
    assert not is_reachable()


def test_a_mirror_that_is_no_web_address_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vendor_release.MIRROR_VARIABLE, "file:///srv")
    with pytest.raises(ToolUnavailable, match="must begin with https"):
        get(tool(), tmp_path / "new", PINS)


def test_a_machine_that_vendors_build_nothing_for_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor_release.platform, "machine", lambda: "riscv64")
    with pytest.raises(ToolUnavailable, match="riscv64"):
        get(tool(), tmp_path / "new", PINS)


BASE = Tool(
    "kube", "1.0.0", ("kubectl", "kubelet"), release=VendorRelease(base="https://dl.example/v1.0.0/bin/linux/{arch}")
)


def test_a_vendor_s_own_place_brings_each_binary_that_is_pinned(mirror: Mirror, tmp_path: Path) -> None:
    for name in BASE.binaries:
        mirror.files[f"/v1.0.0/bin/linux/amd64/{name}"] = name.encode()
        mirror.pins[f"amd64/{name}"] = hashlib.sha256(name.encode()).hexdigest()
    assert get(BASE, tmp_path / "new", mirror.pins) == ["kubectl", "kubelet"]
    assert (tmp_path / "new" / "kubelet").stat().st_mode & 0o777 == 0o755


def test_a_binary_with_another_digest_is_refused_whatever_lies_beside_it(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["/v1.0.0/bin/linux/amd64/kubectl"] = b"changed"
    mirror.files["/v1.0.0/bin/linux/amd64/kubectl.sha256"] = hashlib.sha256(b"changed").hexdigest().encode()
    mirror.pins = {f"amd64/{name}": hashlib.sha256(name.encode()).hexdigest() for name in BASE.binaries}
    with pytest.raises(ToolUnavailable, match="refused kubectl"):
        get(BASE, tmp_path / "new", mirror.pins)


def test_a_member_s_path_may_hold_the_architecture(mirror: Mirror, tmp_path: Path) -> None:
    mirror.asset(tar(amd64=b"program"))
    assert get(tool(members={"tool": "bin/{arch}"}), tmp_path / "new", mirror.pins) == ["tool"]
