"""How a registry is asked one thing: scheme, login, retries, and a limit in seconds and bytes for the whole of it."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from slipway.model.errors import SlipwayError
from slipway.model.names import LOOPBACK
from slipway.model.origins import registry_setting
from slipway.run.credentials import HUB, TIMEOUT, Authorization
from slipway.run.http import (
    HOPS,
    RedirectRefused,
    TooLong,
    TooSlow,
    new_session,
    number,
    origin,
    printable,
    read_body,
    redirect_target,
    without_login,
)

if TYPE_CHECKING:
    import requests

HUB_API = "registry-1.docker.io"
AT_ONCE = 16
SECONDS = 60.0
"""How long one question may take, retries and login included."""
CHALLENGES = 2  # another thread's token may be spent as well
BUSY, RETRIES, PAUSE = (429, 500, 502, 503, 504), 3, 0.2
PROBE = (2.0, 3.0)
SPEAKS_TLS = (301, 302, 307, 308, 400)  # what a TLS server, or one in front of it, says to a plain request
SYSTEM_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
_schemes: dict[str, str] = {}


@dataclass(frozen=True)
class Question:
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
class Answer:
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


class Wire:
    """The way to one registry; may be used from several threads."""

    def __init__(self, host: str, config: Path | None = None, seconds: float = SECONDS) -> None:
        """Remember whom to ask; nothing is asked yet.

        Args:
            host: `host[:port]`, as image references have it.
            config: the folder of a Docker config with the login, instead of the user's.
            seconds: how long one question may take.
        """
        self.host = host
        self._seconds = seconds
        self._loopback = LOOPBACK.match(host) is not None
        self._session = new_session(environment=not self._loopback, connections=AT_ONCE)
        self._session.verify = certificates()
        self.authorization = Authorization(host, config)

    @property
    def plain(self) -> bool:
        """Whether this registry speaks plain HTTP, which only one on this machine may."""
        return self.base.startswith("http://")

    @property
    def base(self) -> str:
        """The registry's address with its scheme.

        A loopback one is asked once, in plain HTTP: a server for plain HTTP waits for more when it is greeted in
        TLS, but one for TLS says at once that it is.
        """
        if not self._loopback:
            return f"https://{HUB_API if self.host == HUB else self.host}"
        if self.host not in _schemes and (found := self._probe()):
            _schemes[self.host] = found
        return f"{_schemes.get(self.host, 'http')}://{self.host}"

    def ask(self, question: Question) -> Answer:
        """Ask, meeting challenges, and return the answer, whatever its status is.

        Raises:
            SlipwayError: the registry does not answer in full within the time, or with too much; or its login fails.
        """
        expires = time.monotonic() + self._seconds
        results: list[Answer] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                results.append(self._patiently(question, expires))
            except BaseException as error:  # handed to the caller below
                errors.append(error)

        # In a thread: a server that drips never lets a read time out, and a helper for logins may hang as well.
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(self._seconds)
        if errors:
            raise self._told(errors[0], question) from errors[0]
        if not results:
            raise self._slow(question)
        return results[0]

    def require(self, answer: Answer) -> Answer:
        """Return an answer that is a yes.

        Raises:
            SlipwayError: it is none.
        """
        if answer.ok:
            return answer
        said = printable(f"{answer.status} {answer.reason} to {answer.method} {answer.url}")
        what = f"the registry {self.host} answers {said}"
        detail = printable(answer.body[:500].decode(errors="replace")).strip()
        if origin(answer.url) != origin(self.base):
            remedy = f"{self.host} sent the request on to there, where Slipway logs in to nothing: see its own log."
        elif answer.status in (401, 403):
            may = {"GET": "read", "HEAD": "read", "DELETE": "delete from"}.get(answer.method, "write")
            remedy = f"Run `{self.authorization.command}` with an account that may {may} it."
        else:
            remedy = "Try again; if it stays, the registry's own log says more."
        raise SlipwayError(what, remedy=remedy, detail=detail)

    def _patiently(self, question: Question, expires: float) -> Answer:
        """Ask again, some times, what is busy; and once what breaks off: a kept connection may have been closed."""
        import requests

        for attempt in range(RETRIES):
            pause = PAUSE * 2**attempt
            try:
                answer = self._met(question, expires)
            except requests.exceptions.SSLError:
                raise
            except requests.RequestException as error:
                if attempt or "refused" in str(error):
                    raise
            else:
                told = number(answer.headers.get("Retry-After", ""))
                pause = pause if told is None else float(told)
                if answer.status not in BUSY or time.monotonic() + pause > expires:
                    return answer
            time.sleep(pause)
        return self._met(question, expires)

    def _met(self, question: Question, expires: float) -> Answer:
        """Ask, and again with a login when the registry itself wants one: never where it only sends on to."""
        for left in reversed(range(CHALLENGES + 1)):
            with self._followed(question, expires) as response:
                wanted = left and question.login and response.status_code == 401 and self._is_own(response.url)
                if wanted and self.authorization.answer(self._session, response, expires):
                    continue
                body = b"" if question.method == "HEAD" else read_body(response, question.limit, expires)
                return Answer(
                    question.method, response.status_code, response.reason or "", response.headers, body, response.url
                )
        raise AssertionError("the last challenge is an answer")

    def _followed(self, question: Question, expires: float) -> requests.Response:
        """Ask, and go where the answer sends on to; only the registry's own origin gets the login."""
        url = f"{self.base}{question.path}"
        for _ in range(HOPS + 1):
            response = self._once(question, url, expires)
            try:
                following = redirect_target(response)
            except RedirectRefused:
                response.close()
                raise
            if following is None:
                return response
            response.close()
            url = following
        raise RedirectRefused(f"{printable(url)[:200]}, and so on: more than {HOPS} times")

    def _once(self, question: Question, url: str, expires: float) -> requests.Response:
        left = expires - time.monotonic()
        if left <= 0:
            raise TooSlow
        return self._session.request(
            question.method,
            url,
            headers={"Accept-Encoding": "identity", **question.headers},
            data=question.body,
            auth=self.authorization if self._is_own(url) else without_login,
            timeout=(min(TIMEOUT[0], left), min(TIMEOUT[1], left)),
            allow_redirects=False,
            stream=True,
        )

    def _is_own(self, url: str) -> bool:
        return origin(url) == origin(self.base)

    def _probe(self) -> str | None:
        import requests

        for scheme in ("http", "https"):
            try:
                with self._session.get(
                    f"{scheme}://{self.host}/v2/", timeout=PROBE, allow_redirects=False, stream=True, auth=without_login
                ) as response:
                    if scheme == "https" or response.status_code not in SPEAKS_TLS:
                        return scheme
            except requests.exceptions.SSLError:
                return scheme
            except (requests.RequestException, OSError):
                continue
        return None

    def _told(self, error: BaseException, question: Question) -> BaseException:
        import requests

        if isinstance(error, TooLong):
            return SlipwayError(
                f"the registry {self.host} gives more than {question.limit} bytes for {question.path}",
                remedy="Nothing that Slipway reads there is so large: look at it with `crane`.",
            )
        if isinstance(error, RedirectRefused):
            return SlipwayError(
                f"the registry {self.host} sends {question.method} {question.path} on to {error}",
                remedy=f"Name the registry's own address: {registry_setting(self.host)}; or ask who runs it.",
            )
        if isinstance(error, requests.exceptions.SSLError):
            return SlipwayError(
                f"the certificate of the registry {self.host} is not trusted",
                remedy="Name the file of certificates that vouch for it in SSL_CERT_FILE.",
                detail=str(error),
            )
        if isinstance(error, TooSlow):
            return self._slow(question)
        if not isinstance(error, requests.RequestException | OSError):
            return error
        if self._loopback:
            remedy = "Run `invoke setup`, which starts the registry on this machine."
        elif "SOCKS" in str(error):
            remedy = (
                "The proxy speaks SOCKS, which this Python does not: install `pysocks` in .venv, name an HTTP proxy in "
                "HTTPS_PROXY, or add the registry to NO_PROXY."
            )
        else:
            remedy = f"Check the network and {registry_setting(self.host)}; `curl {self.base}/v2/` shows more."
        return SlipwayError(f"the registry {self.host} does not answer", remedy=remedy, detail=str(error))

    def _slow(self, question: Question) -> SlipwayError:
        return SlipwayError(
            f"the registry {self.host} gave no whole answer to {question.path} within {self._seconds:.0f} s",
            remedy="Try again; if it stays, the network or the registry is too slow: its own log says more.",
        )


def next_path(link: str, path: str) -> str:
    """Return the path and query that a page's Link header names, taken from the page's own; never another host's."""
    parts = urlsplit(urljoin(path, link))
    found = re.sub("^/*", "/", parts.path)  # after the host, what begins otherwise would be a part of its name
    return f"{found}?{parts.query}" if parts.query else found


def certificates() -> str | bool:
    """Return the file of certificates to trust: the system's, so that a company's own count; else True."""
    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    return next((path for path in (named, *SYSTEM_CERTIFICATES) if path and Path(path).is_file()), True)
