"""Pinning: which digests are taken from a vendor, and how tools.toml is written."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run.process import ProcessResult
from slipway._internal.toolchain import pins
from slipway._internal.toolchain.installed_tools import ToolUnavailable
from slipway._internal.toolchain.pins import fetch_digests, find_digest, main, replace_digests, replace_sums
from slipway._internal.toolchain.tool_catalog import TOOLS_FILE, Tool, VendorRelease, load_tools, parse_tools
from slipway._internal.toolchain.vendor_release import MIRROR_VARIABLE

ASSET = "tool-1.0.0-amd64.tar.gz"
RELEASE = VendorRelease("acme/tool", "v1.0.0", "tool-1.0.0-{arch}.tar.gz", checksums="sums.txt")
TOOL = Tool("tool", "1.0.0", ("tool",), release=RELEASE)
API = "https://api.github.com/repos/acme/tool/releases/tags/v1.0.0"
WEB = "https://github.com/acme/tool/releases/download/v1.0.0"


@pytest.mark.parametrize("name", [name for name, each in load_tools().items() if each.release and each.release.sha256])
def test_what_is_pinned_is_this_version_s_and_has_the_form_of_a_digest(name: str) -> None:
    each = load_tools()[name]
    assert each.release and each.release.sha256_of == each.version
    assert all(len(value) == 64 and set(value) <= set("0123456789abcdef") for value in each.release.sha256.values())
    release = each.release
    known = {
        asset
        for arch in pins.PINNED_ARCHITECTURES
        for asset in pins.list_assets(each, release, release.arch.get(arch, arch))
    }
    assert set(release.sha256) <= known


@pytest.mark.parametrize("name", list(load_tools()))
def test_every_module_that_a_tool_requires_has_its_sums(name: str) -> None:
    recipe = load_tools()[name].go
    assert recipe
    for required in recipe.requires:
        module, version = required.split()
        assert (
            sum(line.startswith((f"{module} {version} h1:", f"{module} {version}/go.mod h1:")) for line in recipe.sum)
            == 2
        )


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the vendor's places answer, by address."""
    files: dict[str, bytes] = {}

    def fetch(url: str) -> bytes:
        if url not in files:
            raise ToolUnavailable(f"404 for {url}")
        return files[url]

    def download(url: str, path: object, _tell: object) -> str:
        return hashlib.sha256(fetch(url)).hexdigest()

    monkeypatch.setattr(pins, "fetch", fetch)
    monkeypatch.setattr(pins, "download", download)
    return files


def test_a_digest_is_pinned_where_the_vendor_s_and_that_of_the_bytes_agree(vendor: dict[str, bytes]) -> None:
    vendor[f"{WEB}/{ASSET}"] = b"program"
    digest = hashlib.sha256(b"program").hexdigest()
    vendor[API] = json.dumps({"assets": [{"name": ASSET, "digest": f"sha256:{digest}"}]}).encode()
    assert fetch_digests(TOOL, RELEASE) == {ASSET: digest}
    del vendor[API]
    vendor[f"{WEB}/sums.txt"] = f"{digest}  {ASSET}\n".encode()
    assert fetch_digests(TOOL, RELEASE) == {ASSET: digest}
    vendor[f"{WEB}/{ASSET}"] = b"changed"
    assert fetch_digests(TOOL, RELEASE) == {}


def test_what_the_vendor_publishes_no_digest_of_is_not_pinned(vendor: dict[str, bytes]) -> None:
    vendor[f"{WEB}/{ASSET}"] = b"program"
    assert fetch_digests(TOOL, replace(RELEASE, checksums="")) == {}


def test_a_vendor_s_own_place_has_each_binary_s_digest_beside_it(vendor: dict[str, bytes]) -> None:
    release = VendorRelease(base="https://dl.example/{arch}")
    vendor["https://dl.example/arm64/tool"] = b"program"
    digest = hashlib.sha256(b"program").hexdigest()
    vendor["https://dl.example/arm64/tool.sha256"] = digest.encode()
    assert fetch_digests(TOOL, release) == {"arm64/tool": digest}


def test_a_mirror_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, "https://mirror.example")
    with pytest.raises(SlipwayError, match="is set"):
        main(["crane"])


def test_pins_replace_those_of_the_version_before_and_nothing_else() -> None:
    text = TOOLS_FILE.read_text(encoding="utf-8")
    before = parse_tools(tomllib.loads(text))
    crane = replace(before["crane"], version="9.9.9")
    new = replace_sums(replace_digests(text, crane, {"a": "1" * 64}), crane, ["m v9 h1:x=", "m v9/go.mod h1:y="])
    after = parse_tools(tomllib.loads(new))
    assert after["crane"].release and after["crane"].go
    assert dict(after["crane"].release.sha256) == {"a": "1" * 64}
    assert after["crane"].release.sha256_of == "9.9.9"
    assert after["crane"].go.sum == ("m v9 h1:x=", "m v9/go.mod h1:y=")
    assert {name: each for name, each in after.items() if name != "crane"} == {
        name: each for name, each in before.items() if name != "crane"
    }
    none = parse_tools(tomllib.loads(replace_digests(new, crane, {})))["crane"]
    assert none.release and not none.release.sha256 and not none.release.sha256_of


def test_the_same_pins_written_again_change_no_byte() -> None:
    text = TOOLS_FILE.read_text(encoding="utf-8")
    for each in load_tools().values():
        new = replace_digests(text, each, each.release.sha256) if each.release else text
        assert replace_sums(new, each, each.go.sum if each.go else []) == text


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
    assert find_digest(text, ASSET) == sha


def test_a_file_of_sums_that_names_only_others_gives_nothing() -> None:
    assert find_digest(f"{'ab' * 32}  other.tar.gz\n<html>", ASSET) is None


@pytest.fixture
def tools_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tools.toml of its own, whose pins may be written."""
    path = tmp_path / "tools.toml"
    path.write_text(TOOLS_FILE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(pins, "TOOLS_FILE", path)
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    return path


class Go:
    """Stands for Go, which knows the sums of all modules but one."""

    def __init__(self, unknown: str = "") -> None:
        self.unknown = unknown

    def run(self, argv: list[str], **_: object) -> ProcessResult:
        module = argv[-1].partition("@")[0]
        if module == self.unknown:
            return ProcessResult(1, "not found: no such module")
        return ProcessResult(0, json.dumps({"Sum": "h1:new=", "GoModSum": "h1:newmod="}))


@pytest.mark.parametrize(("found", "code"), [({"asset": "f" * 64}, 0), ({}, 1)])
def test_pinning_writes_the_digests_and_sums_and_says_whether_a_release_has_none(
    tools_file: Path, monkeypatch: pytest.MonkeyPatch, found: dict[str, str], code: int
) -> None:
    monkeypatch.setattr(pins, "fetch_digests", lambda *_: found)
    monkeypatch.setattr(pins, "run", Go().run)
    assert main(["crane"]) == code
    after = parse_tools(tomllib.loads(tools_file.read_text(encoding="utf-8")))["crane"]
    assert after.release and dict(after.release.sha256) == found
    assert after.go and all("h1:new" in line for line in after.go.sum)


def test_a_module_that_go_does_not_know_keeps_its_sums(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = load_tools()["crane"]
    assert tool.go
    module, version = tool.go.requires[0].split()
    monkeypatch.setattr(pins, "run", Go(unknown=module).run)
    kept = [line for line in pins.fetch_sums(tool) if line.startswith(f"{module} {version}")]
    assert kept == [line for line in tool.go.sum if line.startswith(f"{module} {version}")] and kept
    assert f"crane: {module}: not found" in capsys.readouterr().out
