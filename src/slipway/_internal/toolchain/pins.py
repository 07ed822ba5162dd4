"""Writes into tools.toml which bytes each tool is: run `./run pins TOOL…` after a tool's version was changed.

It asks the vendors themselves, by HTTPS and never a mirror, for the digest that they publish, downloads the asset, and
takes the digest when both agree; of Go modules it takes the sums that Go's checksum database vouches for. What cannot
be had keeps no pin: `invoke setup` then does not take the release, and builds the Go module.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run.process import run
from slipway._internal.toolchain.gomodule import build_environment
from slipway._internal.toolchain.installed_tools import ToolUnavailable
from slipway._internal.toolchain.tool_catalog import TOOLS_FILE, Tool, VendorRelease, find_tool
from slipway._internal.toolchain.vendor_release import API_URL, MIRROR_VARIABLE, WEB_URL, download, fetch

PINNED_ARCHITECTURES = ("amd64", "arm64")
GO_SECONDS = 600.0


def main(names: Sequence[str]) -> int:
    """Pin the named tools anew; return the exit code: 1 where a release has no pin now."""
    if os.environ.get(MIRROR_VARIABLE):
        raise SlipwayError(f"{MIRROR_VARIABLE} is set", remedy="Unset it: a mirror would vouch for itself.")
    text, unpinned = TOOLS_FILE.read_text(encoding="utf-8"), 0
    for name in names:
        pinned_tool = find_tool(name)
        if pinned_tool.release:
            pins = fetch_digests(pinned_tool, pinned_tool.release)
            unpinned += not pins
            text = replace_digests(text, pinned_tool, pins)
        if pinned_tool.go:
            text = replace_sums(text, pinned_tool, fetch_sums(pinned_tool))
    TOOLS_FILE.write_text(text, encoding="utf-8")
    return 1 if unpinned else 0


def fetch_digests(tool: Tool, release: VendorRelease) -> dict[str, str]:
    """Return the SHA-256 of each asset of a release that could be had, for each processor."""
    digests = {}
    for machine in PINNED_ARCHITECTURES:
        arch = release.arch.get(machine, machine)
        for asset, url in list_assets(tool, release, arch).items():
            try:
                published = fetch_published_digest(release, asset, url, arch)
                with tempfile.TemporaryDirectory() as folder:
                    actual = download(url, Path(folder) / "asset", print)
            except ToolUnavailable as error:
                print(f"{tool.name}: {asset}: no pin: {error}")
                continue
            if actual == published:
                digests[asset] = actual
            else:
                print(f"{tool.name}: {asset}: no pin: {actual} came, and {published} is published")
    return digests


def list_assets(tool: Tool, release: VendorRelease, arch: str) -> dict[str, str]:
    """Return the name that each asset is pinned by, and its address."""
    if release.base:
        base = release.base.replace("{arch}", arch)
        return {f"{arch}/{name}": f"{base}/{name}" for name in tool.binaries}
    asset = release.asset.replace("{arch}", arch)
    return {asset: f"{WEB_URL}/{release.repo}/releases/download/{release.tag}/{asset}"}


def fetch_published_digest(release: VendorRelease, asset: str, url: str, arch: str) -> str:
    """Return an asset's SHA-256 as its vendor publishes it: beside it, by the release API, or in a file of sums.

    Raises:
        ToolUnavailable: none of them says it.
    """
    if release.base:
        sums_url = f"{url}.sha256"
    else:
        with suppress(ToolUnavailable, ValueError, AttributeError):
            release_info = json.loads(fetch(f"{API_URL}/repos/{release.repo}/releases/tags/{release.tag}"))
            for entry in release_info.get("assets", []):
                if entry.get("name") == asset and str(entry.get("digest")).startswith("sha256:"):
                    return str(entry["digest"]).removeprefix("sha256:")
        if not release.checksums:
            raise ToolUnavailable("the vendor publishes no digest")
        sums_url = f"{url.rpartition('/')[0]}/{release.checksums.replace('{arch}', arch)}"
    digest = find_digest(fetch(sums_url).decode("utf-8", "replace"), asset.rpartition("/")[2])
    if not digest:
        raise ToolUnavailable(f"{sums_url} does not name it")
    return digest


def find_digest(sums: str, asset: str) -> str | None:
    """Find an asset's SHA-256 in a file of sums: `DIGEST  NAME` lines, or one bare digest."""
    for line in sums.splitlines():
        words = line.split()
        if not words or not re.fullmatch(r"[0-9a-fA-F]{64}", words[0].strip("\0")):
            continue
        if len(words) == 1 or Path(words[-1].lstrip("*")).name == asset:
            return words[0].lower()
    return None


def fetch_sums(tool: Tool) -> list[str]:
    """Return the go.sum lines of the modules that a tool requires, as Go's checksum database has them.

    What that does not know keeps the lines that tools.toml has already.
    """
    recipe, lines = tool.go, []
    assert recipe
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "go.mod").write_text("module slipway.tools/pins\n", encoding="utf-8")
        for required in recipe.requires:
            module, version = required.split()
            argv = ["go", "mod", "download", "-json", f"{module}@{version}"]
            result = run(argv, cwd=Path(folder), env=build_environment(recipe), timeout=GO_SECONDS)
            if result.code:
                lines += [
                    line for line in recipe.sum if line.startswith((f"{module} {version} ", f"{module} {version}/"))
                ]
                print(f"{tool.name}: {module}: {result.tail(1)}")
                continue
            module_info = json.loads(result.output)
            lines += [
                f"{module} {version} {module_info['Sum']}",
                f"{module} {version}/go.mod {module_info['GoModSum']}",
            ]
    return lines


def replace_digests(text: str, tool: Tool, pins: Mapping[str, str]) -> str:
    """Return tools.toml with the pins of a tool's release, and none of those that it had."""
    lines = [f'sha256_of = "{tool.version}"', f"[{tool.name}.release.sha256]"]
    lines = [*lines, *(f'"{asset}" = "{digest}"' for asset, digest in sorted(pins.items()))]
    text = re.sub(rf"^\[{re.escape(tool.name)}\.release\.sha256\]\n(?:\".*\n)*\n?", "", text, flags=re.MULTILINE)
    return _replace_in_table(text, f"{tool.name}.release", r"^sha256_of = .*\n", lines if pins else [])


def replace_sums(text: str, tool: Tool, sums: Sequence[str]) -> str:
    """Return tools.toml with the go.sum lines of a tool's modules, and none of those that it had."""
    lines = ["sum = [", *(f'    "{line}",' for line in sums), "]"]
    return _replace_in_table(text, f"{tool.name}.go", r"^sum = \[\n(?: .*\n)*\]\n", lines if sums else [])


def _replace_in_table(text: str, table: str, old: str, lines: Sequence[str]) -> str:
    """Return TOML whose table lacks what a pattern matches and ends with lines."""
    head, title, rest = text.partition(f"[{table}]\n")
    body, following = re.match(r"((?:(?!\[).*\n)*)([\s\S]*)", rest).groups()  # type: ignore[union-attr]
    body = re.sub(old, "", body, flags=re.MULTILINE).rstrip("\n")
    added = "".join(f"\n{line}" for line in lines)
    return f"{head}{title}{body}{added}\n\n{following}" if title else text


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SlipwayError as error:
        sys.exit(f"{error.message}\n  remedy  {error.remedy}")
