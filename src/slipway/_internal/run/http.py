"""HTTP for registries and token services: redirects handled by hand, no cookies, bodies of limited size."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from slipway._internal.model.names import LOOPBACK

if TYPE_CHECKING:
    import requests

REDIRECT_STATUSES = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 5
CHUNK_BYTES = 1 << 16
HEADER_LIMIT = 1 << 13
"""Characters of one header that are looked at: patterns on longer ones would take minutes."""
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NUMBER = re.compile(r"[0-9]{1,15}")


class ResponseTooLarge(Exception):
    """A response has more bytes than allowed."""


class ResponseTooSlow(Exception):
    """A response took longer than allowed."""


class RedirectRefused(Exception):
    """A response redirects to where Slipway does not follow; the text says why."""


def new_session(*, environment: bool, connections: int = 10) -> requests.Session:
    """Return a session that keeps no cookies, and follows no redirect by itself.

    Args:
        environment: whether the environment's proxies are used.
        connections: how many are kept open to one host.
    """
    from http.cookiejar import DefaultCookiePolicy

    import requests

    class Session(requests.Session):
        def get_redirect_target(self, _: requests.Response) -> None:
            """Say that there is none: else requests reads a redirect's body to its end, however long that is."""

    session = Session()
    session.trust_env = environment
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=connections))
    return session


def no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Be requests' `auth` where nothing is sent: it keeps ~/.netrc and passwords in addresses out."""
    return request


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of an address; logins and tokens stay within these three.

    Raises:
        ValueError: the address is none.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").rstrip("."), parts.port or _DEFAULT_PORTS.get(scheme, 0)


def is_loopback(url: str) -> bool:
    """Return whether an address is on this machine."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return LOOPBACK.match(host) is not None


def redirect_target(response: requests.Response) -> str | None:
    """Return where an answer sends the request on to; None when it is not a redirect.

    Raises:
        RedirectRefused: to an address without TLS, or what was to be written to another origin.
    """
    location = response.headers.get("Location", "")
    if response.status_code not in REDIRECT_STATUSES or not location:
        return None
    shown = replace_unprintable(location)[:200]
    try:
        target = urljoin(response.url, location)
        source_origin, target_origin = origin(response.url), origin(target)
    except ValueError:
        raise RedirectRefused(f"{shown}, which is not an address") from None
    local = target_origin[0] == source_origin[0] == "http" and is_loopback(target) and is_loopback(response.url)
    if target_origin[0] != "https" and not local:
        raise RedirectRefused(f"{shown}, which is not HTTPS")
    if response.request.method not in ("GET", "HEAD") and (
        source_origin != target_origin or response.status_code not in (307, 308)
    ):
        raise RedirectRefused(f"{shown}, where nothing is written")
    return target


def read_body(response: requests.Response, limit: int, expires: float) -> bytes:
    """Return a response's body as it was sent, never unpacked.

    Args:
        response: a streamed one.
        limit: bytes that it may have.
        expires: on the monotonic clock; a server that sends byte after byte is left then.

    Raises:
        ResponseTooLarge, ResponseTooSlow: it is, or was.
        requests.ConnectionError: it breaks off.
    """
    import requests
    import urllib3

    parts: list[bytes] = []
    length = 0
    try:
        while part := response.raw.read1(CHUNK_BYTES):
            parts.append(part)
            length += len(part)
            if length > limit:
                raise ResponseTooLarge
            if time.monotonic() > expires:
                raise ResponseTooSlow
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from error
    announced = parse_number(response.headers.get("Content-Length", ""))
    if announced is not None and announced != length:
        raise requests.ConnectionError(f"the answer ends after {length} of {announced} bytes")
    return b"".join(parts)


def parse_number(header: str) -> int | None:
    """Return a header's whole number; None where it is none (digits of other scripts are none)."""
    return int(header) if _NUMBER.fullmatch(header) else None


def replace_unprintable(text: str) -> str:
    """Return a server's words without what a terminal would take for commands."""
    return "".join(character if character.isprintable() or character == "\n" else "�" for character in text)
