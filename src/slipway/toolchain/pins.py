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

from slipway.model.errors import SlipwayError
from slipway.run.process import run
from slipway.toolchain.data import DATA, Release, Tool, tool
from slipway.toolchain.find import NotHad
from slipway.toolchain.gomodule import build_env
from slipway.toolchain.release import API, MIRROR, WEB, download, fetch

MACHINES = ("amd64", "arm64")
GO_SECONDS = 600.0


def main(names: Sequence[str]) -> int:
    """Pin the named tools anew; return the exit code: 1 where a release has no pin now."""
    if os.environ.get(MIRROR):
        raise SlipwayError(f"{MIRROR} is set", remedy="Unset it: a mirror would vouch for itself.")
    text, unpinned = DATA.read_text(encoding="utf-8"), 0
    for name in names:
        found = tool(name)
        if found.release:
            pins = digests_of(found, found.release)
            unpinned += not pins
            text = with_digests(text, found, pins)
        if found.go:
            text = with_sums(text, found, sums_of(found))
    DATA.write_text(text, encoding="utf-8")
    return 1 if unpinned else 0


def digests_of(tool: Tool, release: Release) -> dict[str, str]:
    """Return the SHA-256 of each asset of a release that could be had, for each processor."""
    found = {}
    for machine in MACHINES:
        arch = release.arch.get(machine, machine)
        for asset, url in assets_of(tool, release, arch).items():
            try:
                published = published_digest(release, asset, url, arch)
                with tempfile.TemporaryDirectory() as folder:
                    actual = download(url, Path(folder) / "asset", print)
            except NotHad as error:
                print(f"{tool.name}: {asset}: no pin: {error}")
                continue
            if actual == published:
                found[asset] = actual
            else:
                print(f"{tool.name}: {asset}: no pin: {actual} came, and {published} is published")
    return found


def assets_of(tool: Tool, release: Release, arch: str) -> dict[str, str]:
    """Return the name that each asset is pinned by, and its address."""
    if release.base:
        base = release.base.replace("{arch}", arch)
        return {f"{arch}/{name}": f"{base}/{name}" for name in tool.binaries}
    asset = release.asset.replace("{arch}", arch)
    return {asset: f"{WEB}/{release.repo}/releases/download/{release.tag}/{asset}"}


def published_digest(release: Release, asset: str, url: str, arch: str) -> str:
    """Return an asset's SHA-256 as its vendor publishes it: beside it, by the release API, or in a file of sums.

    Raises:
        NotHad: none of them says it.
    """
    if release.base:
        sums = f"{url}.sha256"
    else:
        with suppress(NotHad, ValueError, AttributeError):
            about = json.loads(fetch(f"{API}/repos/{release.repo}/releases/tags/{release.tag}"))
            for each in about.get("assets", []):
                if each.get("name") == asset and str(each.get("digest")).startswith("sha256:"):
                    return str(each["digest"]).removeprefix("sha256:")
        if not release.checksums:
            raise NotHad("the vendor publishes no digest")
        sums = f"{url.rpartition('/')[0]}/{release.checksums.replace('{arch}', arch)}"
    found = digest_in(fetch(sums).decode("utf-8", "replace"), asset.rpartition("/")[2])
    if not found:
        raise NotHad(f"{sums} does not name it")
    return found


def digest_in(sums: str, asset: str) -> str | None:
    """Find an asset's SHA-256 in a file of sums: `DIGEST  NAME` lines, or one bare digest."""
    for line in sums.splitlines():
        words = line.split()
        if not words or not re.fullmatch(r"[0-9a-fA-F]{64}", words[0].strip("\0")):
            continue
        if len(words) == 1 or Path(words[-1].lstrip("*")).name == asset:
            return words[0].lower()
    return None


def sums_of(tool: Tool) -> list[str]:
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
            result = run(argv, cwd=Path(folder), env=build_env(recipe), timeout=GO_SECONDS)
            if result.code:
                lines += [
                    line for line in recipe.sum if line.startswith((f"{module} {version} ", f"{module} {version}/"))
                ]
                print(f"{tool.name}: {module}: {result.tail(1)}")
                continue
            about = json.loads(result.output)
            lines += [f"{module} {version} {about['Sum']}", f"{module} {version}/go.mod {about['GoModSum']}"]
    return lines


def with_digests(text: str, tool: Tool, pins: Mapping[str, str]) -> str:
    """Return tools.toml with the pins of a tool's release, and none of those that it had."""
    lines = [f'sha256_of = "{tool.version}"', f"[{tool.name}.release.sha256]"]
    lines = [*lines, *(f'"{asset}" = "{digest}"' for asset, digest in sorted(pins.items()))]
    text = re.sub(rf"^\[{re.escape(tool.name)}\.release\.sha256\]\n(?:\".*\n)*\n?", "", text, flags=re.MULTILINE)
    return _replaced(text, f"{tool.name}.release", r"^sha256_of = .*\n", lines if pins else [])


def with_sums(text: str, tool: Tool, sums: Sequence[str]) -> str:
    """Return tools.toml with the go.sum lines of a tool's modules, and none of those that it had."""
    lines = ["sum = [", *(f'    "{line}",' for line in sums), "]"]
    return _replaced(text, f"{tool.name}.go", r"^sum = \[\n(?: .*\n)*\]\n", lines if sums else [])


def _replaced(text: str, table: str, old: str, lines: Sequence[str]) -> str:
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
        sys.exit(f"{error.what}\n  remedy  {error.remedy}")
