"""Gets a tool from its vendor's GitHub release; nothing whose SHA-256 is not the published one comes in."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import platform
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from slipway.toolchain.data import Release, Tool
from slipway.toolchain.find import NotHad

WEB, API = "https://github.com", "https://api.github.com"
MIRROR = "SLIPWAY_TOOLS_MIRROR"  # a base URL that answers the same paths as both
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
CHUNK = 1 << 20
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_unreachable: set[str] = set()  # hosts that did not answer in this process: asking each again costs 5 s a tool

OnLine = Callable[[str], None]


def from_release(tool: Tool, into: Path, on_line: OnLine) -> None:
    """Download the tool's asset, check it, and put its files into a folder.

    Raises:
        NotHad: there is no release for this machine, it can't be reached, or its digest is not right.
    """
    release = tool.release
    if release is None:
        raise NotHad("release: there is none of its own")
    if release.base:
        _file_by_file(tool, release, into, on_line)
        return
    asset = asset_name(release)
    base = f"{_base(WEB)}/{release.repo}/releases/download/{release.tag}"
    expected = published_digest(release, asset, base)
    archive = into / ".asset"
    on_line(f"{tool.name}: downloading {asset}")
    actual = _download(f"{base}/{asset}", archive, lambda text: on_line(f"{tool.name}: {text}"))
    if actual != expected:
        raise NotHad(f"release: refused {asset}: its SHA-256 is {actual}, the vendor publishes {expected}")
    _unpack(tool, release, archive, into)
    archive.unlink()


def _file_by_file(tool: Tool, release: Release, into: Path, on_line: OnLine) -> None:
    """Download each binary from the vendor's own place, where `BINARY.sha256` lies beside it."""
    asset_name(release)
    parts = urllib.parse.urlsplit(release.base.replace("{arch}", asset_arch(release)))
    base = f"{_base(f'{parts.scheme}://{parts.netloc}')}{parts.path}"
    for name in tool.binaries:
        expected = digest_in(_fetch(f"{base}/{name}.sha256").decode("ascii", "replace"), name)
        on_line(f"{tool.name}: downloading {name}")
        actual = _download(f"{base}/{name}", into / name, partial(_tell, on_line, name))
        if actual != expected:
            raise NotHad(f"release: refused {name}: its SHA-256 is {actual}, the vendor publishes {expected}")
        (into / name).chmod(0o755)


def _tell(on_line: OnLine, name: str, text: str) -> None:
    on_line(f"{name}: {text}")


def asset_name(release: Release) -> str:
    """Return the asset's name for this machine. Raises NotHad for one that vendors build nothing for."""
    if platform.system() != "Linux" or not asset_arch(release):
        raise NotHad(f"release: none is known for {platform.system()} on {platform.machine()}")
    return release.asset.replace("{arch}", asset_arch(release))


def published_digest(release: Release, asset: str, base: str) -> str:
    """Return the asset's SHA-256 as the vendor publishes it: by the release API, else in a file of sums.

    Raises:
        NotHad: neither says it.
    """
    reasons = []
    try:
        url = f"{_base(API)}/repos/{release.repo}/releases/tags/{release.tag}"
        for each in json.loads(_fetch(url)).get("assets", []):
            if each.get("name") == asset and str(each.get("digest")).startswith("sha256:"):
                return str(each["digest"]).removeprefix("sha256:")
        reasons.append("the release API tells no digest")
    except (NotHad, ValueError) as error:
        reasons.append(str(error))
    if release.checksums:
        try:
            sums = release.checksums.replace("{arch}", asset_arch(release))
            if found := digest_in(_fetch(f"{base}/{sums}").decode("utf-8", "replace"), asset):
                return found
            reasons.append(f"{sums} does not name it")
        except NotHad as error:
            reasons.append(str(error))
    raise NotHad(f"release: no digest for {asset}: {'; '.join(dict.fromkeys(reasons))}")


def asset_arch(release: Release) -> str:
    """Return the vendor's word for this machine's architecture."""
    machine = ARCHITECTURES.get(platform.machine().lower(), "")
    return release.arch.get(machine, machine)


def digest_in(sums: str, asset: str) -> str | None:
    """Find an asset's SHA-256 in a file of sums: `DIGEST  NAME` lines, or one bare digest."""
    for line in sums.splitlines():
        words = line.split()
        if not words or not re.fullmatch(r"[0-9a-fA-F]{64}", words[0].strip("\0")):
            continue
        if len(words) == 1 or Path(words[-1].lstrip("*")).name == asset:
            return words[0].lower()
    return None


def reachable() -> bool:
    """Return whether the place that releases come from answers at all."""
    try:
        _fetch(_base(WEB))
    except NotHad as error:
        return " answers " in str(error)
    return True


def _base(default: str) -> str:
    return os.environ.get(MIRROR, "").rstrip("/") or default


def _fetch(url: str) -> bytes:
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


def _download(url: str, path: Path, tell: OnLine) -> str:
    digest, done, told = hashlib.sha256(), 0, time.monotonic()
    try:
        with _open(url, READ_SECONDS) as answer, path.open("wb") as file:
            size = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                if time.monotonic() - told > 1:
                    told = time.monotonic()
                    tell(f"downloading, {done / 1e6:.0f} of {size / 1e6:.0f} MB")
    except (OSError, http.client.HTTPException) as error:
        raise NotHad(f"release: the download broke off after {done} bytes: {error}") from error
    if size and done != size:
        raise NotHad(f"release: the download was cut short: {done} of {size} bytes")
    return digest.hexdigest()


def _unpack(tool: Tool, release: Release, archive: Path, into: Path) -> None:
    if not release.members:
        shutil.copyfile(archive, into / tool.main)
        (into / tool.main).chmod(0o755)
        return
    try:
        with tarfile.open(archive) as tar:
            for name, member in release.members.items():
                _member(tar, member.replace("{arch}", asset_arch(release)), into / name, name in release.optional)
    except tarfile.TarError as error:
        raise NotHad(f"release: {release.asset} is not a tar archive: {error}") from error


def _member(tar: tarfile.TarFile, member: str, target: Path, optional: bool) -> None:
    names = [each for each in tar.getnames() if each.removeprefix("./") == member]
    source = tar.extractfile(names[0]) if names else None
    if source is None:
        if optional:
            return
        raise NotHad(f"release: the archive holds no {member}")
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file, CHUNK)
    target.chmod(0o755)
