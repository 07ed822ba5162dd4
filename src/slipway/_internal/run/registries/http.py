"""One request to a registry: scheme, login, retries, and limits in seconds and bytes for the whole of it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.masking import mask
from slipway._internal.model.names import LOOPBACK
from slipway._internal.model.setting_sources import describe_registry_setting
from slipway._internal.run.background import Background
from slipway._internal.run.credentials import HUB, REQUEST_TIMEOUT, Authorization
from slipway._internal.run.http import (
    MAX_REDIRECTS,
    RedirectRefused,
    ResponseTooLarge,
    ResponseTooSlow,
    new_session,
    no_auth,
    origin,
    parse_number,
    read_body,
    redirect_target,
    replace_unprintable,
)

if TYPE_CHECKING:
    import requests

HUB_API_HOST = "registry-1.docker.io"
MAX_CONCURRENT_REQUESTS = 16
REQUEST_SECONDS = 60.0
"""How long one question may take, retries and login included."""
MAX_CHALLENGES = 2  # another thread's token may be spent as well
BUSY_STATUSES, MAX_RETRIES, RETRY_PAUSE = (429, 500, 502, 503, 504), 3, 0.2
PROBE_TIMEOUT = (2.0, 3.0)
TLS_STATUSES = (301, 302, 307, 308, 400)  # what a TLS server, or one in front of it, says to a plain request
SYSTEM_CERTIFICATE_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
_schemes: dict[str, str] = {}


@dataclass(frozen=True)
class Request:
    """What a registry is asked: a path with its query, from /v2/ on; `limit` is how many bytes the answer may have.

    Without `login`, a 401 is an answer like any other.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    limit: int = 1 << 23
    login: bool = True


@dataclass(frozen=True)
class Response:
    """What a registry said to a method: all of it, the body read to its end."""

    method: str
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    url: str

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class HttpClient:
    """The way to one registry; may be used from several threads."""

    def __init__(self, host: str, config: Path | None = None, seconds: float = REQUEST_SECONDS) -> None:
        """Remember whom to ask; nothing is asked yet.

        Args:
            host: `host[:port]`, as image references have it.
            config: the folder of a Docker config with the login, instead of the user's.
            seconds: how long one question may take.
        """
        self.host = host
        self._seconds = seconds
        self._is_loopback = LOOPBACK.match(host) is not None
        self._session = new_session(environment=not self._is_loopback, connections=MAX_CONCURRENT_REQUESTS)
        self._session.verify = certificate_bundle()
        self.authorization = Authorization(host, config)

    @property
    def is_plain_http(self) -> bool:
        """Whether this registry speaks plain HTTP, which only one on this machine may."""
        return self.base_url.startswith("http://")

    @property
    def base_url(self) -> str:
        """The registry's address with its scheme.

        A loopback one is asked once, in plain HTTP: a server for plain HTTP waits for more when it is greeted in
        TLS, but one for TLS says at once that it is.
        """
        if not self._is_loopback:
            return f"https://{HUB_API_HOST if self.host == HUB else self.host}"
        if self.host not in _schemes and (scheme := self._detect_scheme()):
            _schemes[self.host] = scheme
        return f"{_schemes.get(self.host, 'http')}://{self.host}"

    def send(self, request: Request) -> Response:
        """Ask, meeting challenges, and return the answer, whatever its status is.

        Raises:
            SlipwayError: the registry does not answer in full within the time, or with too much; or its login fails.
        """
        expires = time.monotonic() + self._seconds
        # In a thread: a server that drips never lets a read time out, and a helper for logins may hang as well.
        answer = Background(lambda: self._retry(request, expires))
        if not answer.wait(self._seconds):
            raise self._timeout_error(request)
        try:
            return answer.result()
        except BaseException as error:
            raise self._translate_error(error, request) from error

    def require_success(self, response: Response) -> Response:
        """Return an answer that is a yes.

        Raises:
            SlipwayError: it is none.
        """
        if response.ok:
            return response
        status_line = replace_unprintable(f"{response.status} {response.reason} to {response.method} {response.url}")
        message = f"the registry {self.host} answers {status_line}"
        detail = replace_unprintable(mask(response.body.decode(errors="replace"))[:500]).strip()
        if origin(response.url) != origin(self.base_url):
            remedy = f"{self.host} sent the request on to there, where Slipway logs in to nothing: see its own log."
        elif response.status in (401, 403):
            permission = {"GET": "read", "HEAD": "read", "DELETE": "delete from"}.get(response.method, "write")
            remedy = f"Run `{self.authorization.login_command}` with an account that may {permission} it."
        else:
            remedy = "Try again; if it stays, the registry's own log says more."
        raise SlipwayError(message, remedy=remedy, detail=detail)

    def _retry(self, request: Request, expires: float) -> Response:
        """Ask again, some times, what is busy; and once what breaks off: a kept connection may have been closed."""
        import requests

        for attempt in range(MAX_RETRIES):
            pause = RETRY_PAUSE * 2**attempt
            try:
                response = self._authenticate(request, expires)
            except requests.exceptions.SSLError:
                raise
            except requests.RequestException as error:
                if attempt or "refused" in str(error):
                    raise
            else:
                retry_after = parse_number(response.headers.get("Retry-After", ""))
                pause = pause if retry_after is None else float(retry_after)
                if response.status not in BUSY_STATUSES or time.monotonic() + pause > expires:
                    return response
            time.sleep(pause)
        return self._authenticate(request, expires)

    def _authenticate(self, request: Request, expires: float) -> Response:
        """Ask, and again with a login when the registry itself wants one: never where it only sends on to."""
        for challenges_left in reversed(range(MAX_CHALLENGES + 1)):
            with self._follow_redirects(request, expires) as response:
                needs_login = (
                    challenges_left and request.login and response.status_code == 401 and self._is_own(response.url)
                )
                if needs_login and self.authorization.answer_challenge(self._session, response, expires):
                    continue
                body = b"" if request.method == "HEAD" else read_body(response, request.limit, expires)
                return Response(
                    request.method, response.status_code, response.reason or "", response.headers, body, response.url
                )
        raise AssertionError("the last challenge is an answer")

    def _follow_redirects(self, request: Request, expires: float) -> requests.Response:
        """Ask, and go where the answer sends on to; only the registry's own origin gets the login."""
        url = f"{self.base_url}{request.path}"
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(request, url, expires)
            try:
                following = redirect_target(response)
            except RedirectRefused:
                response.close()
                raise
            if following is None:
                return response
            response.close()
            url = following
        raise RedirectRefused(f"{replace_unprintable(url)[:200]}, and so on: more than {MAX_REDIRECTS} times")

    def _send(self, request: Request, url: str, expires: float) -> requests.Response:
        seconds_left = expires - time.monotonic()
        if seconds_left <= 0:
            raise ResponseTooSlow
        return self._session.request(
            request.method,
            url,
            headers={"Accept-Encoding": "identity", **request.headers},
            data=request.body,
            auth=self.authorization if self._is_own(url) else no_auth,
            timeout=(min(REQUEST_TIMEOUT[0], seconds_left), min(REQUEST_TIMEOUT[1], seconds_left)),
            allow_redirects=False,
            stream=True,
        )

    def _is_own(self, url: str) -> bool:
        return origin(url) == origin(self.base_url)

    def _detect_scheme(self) -> str | None:
        import requests

        for scheme in ("http", "https"):
            try:
                with self._session.get(
                    f"{scheme}://{self.host}/v2/",
                    timeout=PROBE_TIMEOUT,
                    allow_redirects=False,
                    stream=True,
                    auth=no_auth,
                ) as response:
                    if scheme == "https" or response.status_code not in TLS_STATUSES:
                        return scheme
            except requests.exceptions.SSLError:
                return scheme
            except (requests.RequestException, OSError):
                continue
        return None

    def _translate_error(self, error: BaseException, request: Request) -> BaseException:
        import requests

        if isinstance(error, ResponseTooLarge):
            return SlipwayError(
                f"the registry {self.host} gives more than {request.limit} bytes for {request.path}",
                remedy="Nothing that Slipway reads there is that large: inspect it with `crane`.",
            )
        if isinstance(error, RedirectRefused):
            return SlipwayError(
                f"the registry {self.host} sends {request.method} {request.path} on to {error}",
                remedy=f"Name the registry's own address: {describe_registry_setting(self.host)}; or ask who runs it.",
            )
        if isinstance(error, requests.exceptions.SSLError):
            return SlipwayError(
                f"the certificate of the registry {self.host} is not trusted",
                remedy="Name the file of certificates that vouch for it in SSL_CERT_FILE.",
                detail=str(error),
            )
        if isinstance(error, ResponseTooSlow):
            return self._timeout_error(request)
        if not isinstance(error, requests.RequestException | OSError):
            return error
        if self._is_loopback:
            remedy = "Run `invoke setup`, which starts the registry on this machine."
        elif "SOCKS" in str(error):
            remedy = (
                "The proxy speaks SOCKS, which this Python does not: install `pysocks` in .venv, name an HTTP proxy in "
                "HTTPS_PROXY, or add the registry to NO_PROXY."
            )
        else:
            remedy = (
                f"Check the network and {describe_registry_setting(self.host)}; `curl {self.base_url}/v2/` shows more."
            )
        return SlipwayError(f"the registry {self.host} does not answer", remedy=remedy, detail=str(error))

    def _timeout_error(self, request: Request) -> SlipwayError:
        return SlipwayError(
            f"the registry {self.host} did not completely answer {request.path} within {self._seconds:.0f} s",
            remedy="Try again; if it stays, the network or the registry is too slow: its own log says more.",
        )


def next_path(link: str, path: str) -> str:
    """Return the path and query that a page's Link header names, taken from the page's own; never another host's."""
    parts = urlsplit(urljoin(path, link))
    joined = re.sub("^/*", "/", parts.path)  # after the host, what begins otherwise would be a part of its name
    return f"{joined}?{parts.query}" if parts.query else joined


def certificate_bundle() -> str | bool:
    """Return the file of certificates to trust: the system's, so that a company's own count; else True."""
    configured = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    return next((path for path in (configured, *SYSTEM_CERTIFICATE_FILES) if path and Path(path).is_file()), True)
