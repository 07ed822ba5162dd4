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

from slipway._internal.run.http import parse_number
from slipway._internal.toolchain.archive import require_native, unpack_members
from slipway._internal.toolchain.installed_tools import ToolUnavailable
from slipway._internal.toolchain.tool_catalog import Tool, VendorRelease

WEB_URL, API_URL = "https://github.com", "https://api.github.com"
MIRROR_VARIABLE = "SLIPWAY_TOOLS_MIRROR"  # a base URL that answers the same paths as both
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
CHUNK_BYTES = 1 << 20
MAX_ASSET_BYTES, DOWNLOAD_SECONDS = 400 << 20, 1800.0
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_unreachable: set[str] = set()  # hosts that did not answer in this process: asking each again costs 5 s a tool

OnLine = Callable[[str], None]


def install_from_release(tool: Tool, into: Path, on_line: OnLine) -> None:
    """Download the tool's asset, check it against tools.toml, and put its files into a folder.

    What has no pinned digest is not even asked for: the place that it comes from could vouch for anything.

    Raises:
        ToolUnavailable: there is no release for this machine, or it is not pinned, unreachable, or different.
    """
    release = tool.release
    if release is None:
        raise ToolUnavailable("release: there is none of its own")
    if release.base:
        _download_binaries(tool, release, into, on_line)
        return
    asset = asset_name(release)
    expected = pinned_digest(tool, release, asset)
    archive = into / ".asset"
    on_line(f"{tool.name}: downloading {asset}")
    url = f"{_base_url(WEB_URL)}/{release.repo}/releases/download/{release.tag}/{asset}"
    _download_verified(url, archive, asset, expected, lambda text: on_line(f"{tool.name}: {text}"))
    if release.members:
        members = {member.replace("{arch}", asset_arch(release)): name for name, member in release.members.items()}
        unpack_members(archive, {member: into / name for member, name in members.items()}, set(release.optional))
        archive.unlink()
    else:
        archive.rename(into / tool.main)
    for file in into.iterdir():
        file.chmod(0o755)
        require_native(file)


def _download_binaries(tool: Tool, release: VendorRelease, into: Path, on_line: OnLine) -> None:
    """Download each binary from the vendor's own place."""
    asset_name(release)
    parts = urllib.parse.urlsplit(release.base.replace("{arch}", asset_arch(release)))
    base = f"{_base_url(f'{parts.scheme}://{parts.netloc}')}{parts.path}"
    expected = {name: pinned_digest(tool, release, f"{asset_arch(release)}/{name}") for name in tool.binaries}
    for name, digest in expected.items():
        on_line(f"{tool.name}: downloading {name}")
        _download_verified(f"{base}/{name}", into / name, name, digest, partial(_report_progress, on_line, name))
        (into / name).chmod(0o755)
        require_native(into / name)


def pinned_digest(tool: Tool, release: VendorRelease, asset: str) -> str:
    """Return the SHA-256 that an asset must have.

    Raises:
        ToolUnavailable: tools.toml names none for this version's.
    """
    if release.sha256 and release.sha256_of != tool.version:
        raise ToolUnavailable(
            f"release: not taken: tools.toml pins the digests of {release.sha256_of}, not of {tool.version}"
        )
    if asset not in release.sha256:
        raise ToolUnavailable(f"release: not taken: tools.toml pins no SHA-256 of {asset}")
    return release.sha256[asset]


def _download_verified(url: str, path: Path, asset: str, expected: str, tell: OnLine) -> None:
    actual = download(url, path, tell)
    if actual != expected:
        path.unlink()
        raise ToolUnavailable(f"release: refused {asset}: its SHA-256 is {actual}, tools.toml pins {expected}")


def _report_progress(on_line: OnLine, name: str, text: str) -> None:
    on_line(f"{name}: {text}")


def asset_name(release: VendorRelease) -> str:
    """Return the asset's name for this machine. Raises ToolUnavailable for one that vendors build nothing for."""
    if platform.system() != "Linux" or not asset_arch(release):
        raise ToolUnavailable(f"release: none is known for {platform.system()} on {platform.machine()}")
    return release.asset.replace("{arch}", asset_arch(release))


def asset_arch(release: VendorRelease) -> str:
    """Return the vendor's word for this machine's architecture."""
    machine = ARCHITECTURES.get(platform.machine().lower(), "")
    return release.arch.get(machine, machine)


def is_reachable() -> bool:
    """Return whether the place that releases come from answers at all."""
    try:
        fetch(_base_url(WEB_URL))
    except ToolUnavailable as error:
        return isinstance(error.__cause__, urllib.error.HTTPError)  # an answer, although not the one asked for
    return True


def _base_url(default: str) -> str:
    return os.environ.get(MIRROR_VARIABLE, "").rstrip("/") or default


def fetch(url: str) -> bytes:
    """Return the first 16 MB of what is at an address. Raises ToolUnavailable when it can't be had."""
    with _open_url(url, CONNECT_SECONDS) as answer:
        return bytes(answer.read(16 * CHUNK_BYTES))


def _open_url(url: str, timeout: float) -> http.client.HTTPResponse:
    host = urllib.parse.urlsplit(url).netloc
    if host in _unreachable:
        raise ToolUnavailable(f"{host} did not answer a moment ago")
    if not url.startswith(("https://", "http://")):  # what the two exceptions from S310 below rest on
        raise ToolUnavailable(f"{MIRROR_VARIABLE} must begin with https:// or http://, not {url!r}")
    request = urllib.request.Request(url, headers={"User-Agent": "slipway"})  # noqa: S310
    if url.startswith(f"{API_URL}/") and (token := os.environ.get("GITHUB_TOKEN")):
        request.add_unredirected_header("Authorization", f"Bearer {token}")  # CI's share of the rate limit
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout)  # noqa: S310
        return answer
    except urllib.error.HTTPError as error:
        raise ToolUnavailable(f"{host} answers {error.code} for {urllib.parse.urlsplit(url).path}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        _unreachable.add(host)
        raise ToolUnavailable(f"{host} cannot be reached: {getattr(error, 'reason', error)}") from error


def download(url: str, path: Path, tell: OnLine, limit: int = MAX_ASSET_BYTES) -> str:
    """Download a file of at most `limit` bytes within DOWNLOAD_SECONDS, and return its SHA-256.

    Raises:
        ToolUnavailable: it can't be had whole, is larger, or takes longer.
    """
    digest, received, start, last_report = hashlib.sha256(), 0, time.monotonic(), time.monotonic()
    try:
        with _open_url(url, READ_SECONDS) as answer, path.open("wb") as file:
            size = parse_number(answer.headers.get("Content-Length") or "") or 0
            while chunk := answer.read1(CHUNK_BYTES):
                received += len(chunk)
                now = time.monotonic()
                if max(received, size) > limit:
                    raise ToolUnavailable(f"release: the download is larger than {limit >> 20} MB")
                if now - start > DOWNLOAD_SECONDS:
                    raise ToolUnavailable(f"release: the download takes longer than {DOWNLOAD_SECONDS / 60:.0f} min")
                file.write(chunk)
                digest.update(chunk)
                if now - last_report > 1:
                    last_report = now
                    tell(f"downloading, {received / 1e6:.0f} of {size / 1e6:.0f} MB")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ToolUnavailable(f"release: the download broke off after {received} bytes: {error}") from error
    if size and received != size:
        raise ToolUnavailable(f"release: the download was cut short: {received} of {size} bytes")
    return digest.hexdigest()
