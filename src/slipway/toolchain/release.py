"""Gets a tool from its vendor's release; nothing comes in whose SHA-256 is not the one that tools.toml pins."""

from __future__ import annotations

import hashlib
import http.client
import os
import platform
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from slipway.run.http import number
from slipway.toolchain.archive import runs_here, unpack
from slipway.toolchain.data import Release, Tool
from slipway.toolchain.find import NotHad

WEB, API = "https://github.com", "https://api.github.com"
MIRROR = "SLIPWAY_TOOLS_MIRROR"  # a base URL that answers the same paths as both
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
CHUNK = 1 << 20
ASSET_LIMIT, DOWNLOAD_SECONDS = 400 << 20, 1800.0
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_unreachable: set[str] = set()  # hosts that did not answer in this process: asking each again costs 5 s a tool

OnLine = Callable[[str], None]


def from_release(tool: Tool, into: Path, on_line: OnLine) -> None:
    """Download the tool's asset, check it against tools.toml, and put its files into a folder.

    What has no pinned digest is not even asked for: the place that it comes from could vouch for anything.

    Raises:
        NotHad: there is no release for this machine, none is pinned, it can't be reached, or it is another one.
    """
    release = tool.release
    if release is None:
        raise NotHad("release: there is none of its own")
    if release.base:
        _file_by_file(tool, release, into, on_line)
        return
    asset = asset_name(release)
    expected = pinned(tool, release, asset)
    archive = into / ".asset"
    on_line(f"{tool.name}: downloading {asset}")
    url = f"{_base(WEB)}/{release.repo}/releases/download/{release.tag}/{asset}"
    _take(url, archive, asset, expected, lambda text: on_line(f"{tool.name}: {text}"))
    if release.members:
        members = {member.replace("{arch}", asset_arch(release)): name for name, member in release.members.items()}
        unpack(archive, {member: into / name for member, name in members.items()}, set(release.optional))
        archive.unlink()
    else:
        archive.rename(into / tool.main)
    for file in into.iterdir():
        file.chmod(0o755)
        runs_here(file)


def _file_by_file(tool: Tool, release: Release, into: Path, on_line: OnLine) -> None:
    """Download each binary from the vendor's own place."""
    asset_name(release)
    parts = urllib.parse.urlsplit(release.base.replace("{arch}", asset_arch(release)))
    base = f"{_base(f'{parts.scheme}://{parts.netloc}')}{parts.path}"
    expected = {name: pinned(tool, release, f"{asset_arch(release)}/{name}") for name in tool.binaries}
    for name, digest in expected.items():
        on_line(f"{tool.name}: downloading {name}")
        _take(f"{base}/{name}", into / name, name, digest, partial(_tell, on_line, name))
        (into / name).chmod(0o755)
        runs_here(into / name)


def pinned(tool: Tool, release: Release, asset: str) -> str:
    """Return the SHA-256 that an asset must have.

    Raises:
        NotHad: tools.toml names none for this version's.
    """
    if release.sha256 and release.sha256_of != tool.version:
        raise NotHad(f"release: not taken: tools.toml pins the digests of {release.sha256_of}, not of {tool.version}")
    if asset not in release.sha256:
        raise NotHad(f"release: not taken: tools.toml pins no SHA-256 of {asset}")
    return release.sha256[asset]


def _take(url: str, path: Path, asset: str, expected: str, tell: OnLine) -> None:
    actual = download(url, path, tell)
    if actual != expected:
        path.unlink()
        raise NotHad(f"release: refused {asset}: its SHA-256 is {actual}, tools.toml pins {expected}")


def _tell(on_line: OnLine, name: str, text: str) -> None:
    on_line(f"{name}: {text}")


def asset_name(release: Release) -> str:
    """Return the asset's name for this machine. Raises NotHad for one that vendors build nothing for."""
    if platform.system() != "Linux" or not asset_arch(release):
        raise NotHad(f"release: none is known for {platform.system()} on {platform.machine()}")
    return release.asset.replace("{arch}", asset_arch(release))


def asset_arch(release: Release) -> str:
    """Return the vendor's word for this machine's architecture."""
    machine = ARCHITECTURES.get(platform.machine().lower(), "")
    return release.arch.get(machine, machine)


def reachable() -> bool:
    """Return whether the place that releases come from answers at all."""
    try:
        fetch(_base(WEB))
    except NotHad as error:
        return " answers " in str(error)
    return True


def _base(default: str) -> str:
    return os.environ.get(MIRROR, "").rstrip("/") or default


def fetch(url: str) -> bytes:
    """Return the first 16 MB of what is at an address. Raises NotHad when it can't be had."""
    with _open(url, CONNECT_SECONDS) as answer:
        return bytes(answer.read(16 * CHUNK))


def _open(url: str, timeout: float) -> http.client.HTTPResponse:
    host = urllib.parse.urlsplit(url).netloc
    if host in _unreachable:
        raise NotHad(f"{host} did not answer a moment ago")
    if not url.startswith(("https://", "http://")):  # what the two exceptions from S310 below rest on
        raise NotHad(f"{MIRROR} must begin with https:// or http://, not {url!r}")
    request = urllib.request.Request(url, headers={"User-Agent": "slipway"})  # noqa: S310
    if url.startswith(f"{API}/") and (token := os.environ.get("GITHUB_TOKEN")):
        request.add_unredirected_header("Authorization", f"Bearer {token}")  # CI's share of the rate limit
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout)  # noqa: S310
        return answer
    except urllib.error.HTTPError as error:
        raise NotHad(f"{host} answers {error.code} for {urllib.parse.urlsplit(url).path}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        _unreachable.add(host)
        raise NotHad(f"{host} cannot be reached: {getattr(error, 'reason', error)}") from error


def download(url: str, path: Path, tell: OnLine, limit: int = ASSET_LIMIT) -> str:
    """Download a file of at most `limit` bytes within DOWNLOAD_SECONDS, and return its SHA-256.

    Raises:
        NotHad: it can't be had whole, is larger, or takes longer.
    """
    digest, done, began, told = hashlib.sha256(), 0, time.monotonic(), time.monotonic()
    try:
        with _open(url, READ_SECONDS) as answer, path.open("wb") as file:
            size = number(answer.headers.get("Content-Length") or "") or 0
            while chunk := answer.read1(CHUNK):
                done += len(chunk)
                now = time.monotonic()
                if max(done, size) > limit:
                    raise NotHad(f"release: the download is larger than {limit >> 20} MB")
                if now - began > DOWNLOAD_SECONDS:
                    raise NotHad(f"release: the download takes longer than {DOWNLOAD_SECONDS / 60:.0f} min")
                file.write(chunk)
                digest.update(chunk)
                if now - told > 1:
                    told = now
                    tell(f"downloading, {done / 1e6:.0f} of {size / 1e6:.0f} MB")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NotHad(f"release: the download broke off after {done} bytes: {error}") from error
    if size and done != size:
        raise NotHad(f"release: the download was cut short: {done} of {size} bytes")
    return digest.hexdigest()
