"""How a registry is told who asks: Docker's config and credential helpers, token services, passwords."""

from __future__ import annotations

import base64
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.model.errors import SlipwayError

if TYPE_CHECKING:
    import requests

HUB = "docker.io"
HUB_LOGIN = "https://index.docker.io/v1/"
TIMEOUT = (5.0, 15.0)
_PARAMETER = re.compile(r'([a-zA-Z_]+)="([^"]*)"')


@dataclass(frozen=True)
class Login:
    """What `docker login` left for a registry; both empty when it left nothing."""

    user: str = ""
    password: str = ""
    token: str = ""

    def __repr__(self) -> str:
        return f"Login(user={self.user!r})"


def login_of(host: str) -> Login:
    """Return the login for a registry from Docker's config (DOCKER_CONFIG honoured) or its credential helper.

    Raises:
        SlipwayError: the config or the helper that it names is broken.
    """
    from docker import auth
    from docker.errors import DockerException

    try:
        found = auth.load_config().resolve_authconfig(HUB_LOGIN if host == HUB else host) or {}
    except (DockerException, ValueError, OSError) as error:
        raise SlipwayError(
            f"Docker's login for {host} cannot be read: {error}", remedy=f"Run `docker login {host}`."
        ) from error
    plain = {str(key).lower(): str(value or "") for key, value in found.items()}
    return Login(plain.get("username", ""), plain.get("password", ""), plain.get("identitytoken", ""))


class Authorization:
    """The `Authorization` headers for one registry, learnt from its challenges, one for each repository."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._headers: dict[str, str] = {}
        self._login: Login | None = None
        self._lock = threading.Lock()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the header on a request (as requests asks of an `auth`); this also keeps ~/.netrc out of it."""
        header = self._headers.get(_scope(str(request.url)))
        if header:
            request.headers["Authorization"] = header
        return request

    def answer(self, session: requests.Session, response: requests.Response) -> bool:
        """Meet the challenge of a 401 answer; return whether there is something new to try.

        Raises:
            SlipwayError: the login cannot be read, or the token service refuses it.
        """
        scope = _scope(response.url)
        sent = response.request.headers.get("Authorization")
        with self._lock:
            known = self._headers.get(scope)
            if known and known != sent:  # another thread has just met it
                return True
            if self._login is None:
                self._login = login_of(self._host)
            header = self._header(session, response.headers.get("WWW-Authenticate", ""), self._login)
            if not header or header == sent:
                return False
            self._headers[scope] = header
            return True

    def _header(self, session: requests.Session, challenge: str, login: Login) -> str:
        scheme, _, rest = challenge.partition(" ")
        parameters = dict(_PARAMETER.findall(rest))
        if scheme.lower() == "bearer" and "realm" in parameters:
            return f"Bearer {self._token(session, parameters, login)}"
        if scheme.lower() == "basic" and login.user:
            pair = f"{login.user}:{login.password}".encode()
            return f"Basic {base64.b64encode(pair).decode()}"
        return ""

    def _token(self, session: requests.Session, parameters: dict[str, str], login: Login) -> str:
        import requests

        realm = parameters.pop("realm")
        asked = {key: value for key, value in parameters.items() if key in ("service", "scope")}
        try:
            if login.token:
                form = {
                    **asked,
                    "grant_type": "refresh_token",
                    "refresh_token": login.token,
                    "client_id": "slipway",
                }
                response = session.post(realm, data=form, timeout=TIMEOUT, auth=_nothing)
            else:
                named = (login.user, login.password) if login.user else _nothing
                response = session.get(realm, params=asked, timeout=TIMEOUT, auth=named)
            response.raise_for_status()
            body: dict[str, Any] = response.json()
        except (requests.RequestException, ValueError) as error:
            raise SlipwayError(
                f"{self._host}: its token service {realm} gave no token: {error}",
                remedy=f"Run `docker login {self._host}`.",
            ) from error
        return str(body.get("token") or body.get("access_token") or "")


def _nothing(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _scope(url: str) -> str:
    """Return the repository's part of an address: tokens are given for one repository."""
    path = url.partition("/v2/")[2]
    return path.rpartition("/manifests/")[0]
