"""How a registry is told who asks: Docker's config and credential helpers, token services, passwords."""

from __future__ import annotations

import base64
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from slipway.model.errors import ConfigError, SlipwayError
from slipway.model.names import LOOPBACK
from slipway.model.workspace import Workspace
from slipway.run import engine

if TYPE_CHECKING:
    import requests

HUB = "docker.io"
HUB_LOGIN = "https://index.docker.io/v1/"
TIMEOUT = (5.0, 15.0)
Purpose = Literal["push", "pull"]
VARIABLES: dict[Purpose, str] = {"push": "SLIPWAY_PUSH_CONFIG", "pull": "SLIPWAY_PULL_CONFIG"}
"""The environment variables that name the folder of a Docker config for a purpose, over workspace.toml's."""
_REPOSITORY = re.compile(r"(.+)/(?:manifests|blobs|tags|referrers)/[^/]*")
_PARAMETER = re.compile(r'([a-zA-Z_]+)="([^"]*)"')


@dataclass(frozen=True)
class Login:
    """What `docker login` left for a registry; both empty when it left nothing."""

    user: str = ""
    password: str = ""
    token: str = ""

    def __repr__(self) -> str:
        return f"Login(user={self.user!r})"


def config_of(workspace: Workspace, purpose: Purpose) -> Path | None:
    """Return the folder of the Docker config to log in with; None for the user's own.

    Raises:
        ConfigError: the folder that is named holds no config.json.
    """
    variable = VARIABLES[purpose]
    named = os.environ.get(variable)
    where = f"the environment variable {variable}"
    if not named:
        named = getattr(workspace.settings.logins, purpose)
        where = f"{workspace.root / 'workspace.toml'}: [logins] {purpose}"
    return _folder(workspace.root / Path(named).expanduser(), where) if named else None


def config_in_environment(purpose: Purpose) -> Path | None:
    """Return the folder that SLIPWAY_PUSH_CONFIG or SLIPWAY_PULL_CONFIG names; None for the user's own.

    Raises:
        ConfigError: it holds no config.json.
    """
    named = os.environ.get(VARIABLES[purpose])
    return _folder(Path(named).expanduser(), f"the environment variable {VARIABLES[purpose]}") if named else None


def export(workspace: Workspace) -> None:
    """Put workspace.toml's logins into the environment, for all that runs from here and knows no workspace.

    Pulumi's provider is such a program, and so is the door to registries itself.

    Raises:
        ConfigError: a folder that is named holds no config.json.
    """
    for purpose, variable in VARIABLES.items():
        if config := config_of(workspace, purpose):
            os.environ[variable] = str(config)


def environment_for(workspace: Workspace, purpose: Purpose) -> dict[str, str]:
    """Return the variables with which crane, cosign and Trivy log in for a purpose; none where the user's login serves.

    Raises:
        ConfigError: the folder that is named holds no config.json.
    """
    config = config_of(workspace, purpose)
    return {"DOCKER_CONFIG": str(config)} if config else {}


def _folder(folder: Path, where: str) -> Path:
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"{where} is {folder}, which holds no config.json",
            remedy=f"Make one: `docker --config {folder} login REGISTRY`.",
        )
    return folder.resolve()


def login_command(host: str, config: Path | None = None) -> str:
    """Return the command by which the user logs in to a registry, into the config that is used."""
    return f"docker --config {config} login {host}" if config else f"docker login {host}"


def login_of(host: str, config: Path | None = None) -> Login:
    """Return the login for a registry from a Docker config or the credential helper that it names.

    Args:
        host: the registry.
        config: the config's folder; else the user's (DOCKER_CONFIG honoured).

    Raises:
        SlipwayError: the config or the helper that it names is broken.
    """
    docker = engine.sdk()
    try:
        known = docker.auth.load_config(str(config / "config.json") if config else None)
        found = known.resolve_authconfig(HUB_LOGIN if host == HUB else host) or {}
    except (docker.errors.DockerException, ValueError, OSError) as error:
        raise SlipwayError(
            f"Docker's login for {host} cannot be read: {error}", remedy=f"Run `{login_command(host, config)}`."
        ) from error
    plain = {str(key).lower(): str(value or "") for key, value in found.items()}
    return Login(plain.get("username", ""), plain.get("password", ""), plain.get("identitytoken", ""))


class _Refused(Exception):
    """A token service gave no token; the text says why."""


class Authorization:
    """The `Authorization` headers for one registry, learnt from its challenges, one for each repository."""

    def __init__(self, host: str, config: Path | None = None) -> None:
        self._host = host
        self._config = config
        self._headers: dict[str, str] = {}
        self._login: Login | None = None
        self._lock = threading.Lock()

    @property
    def command(self) -> str:
        """The command by which the user logs in."""
        return login_command(self._host, self._config)

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
            fresh = sent is not None or self._login is None  # what was refused may have expired: ask for it anew
            if fresh or self._login is None:
                self._login = login_of(self._host, self._config)
            header = self._once_more(session, response, fresh=fresh)
            if not header or header == sent:
                return False
            self._headers[scope] = header
            return True

    def _once_more(self, session: requests.Session, response: requests.Response, *, fresh: bool) -> str:
        """Return the header that a challenge asks for; with a new login when the one known is no good any more."""
        challenge = response.headers.get("WWW-Authenticate", "")
        registry = response.url
        for last in (fresh, True):
            try:
                return self._header(session, challenge, self._login or Login(), registry)
            except _Refused as refused:
                if last:
                    raise SlipwayError(
                        f"{self._host}: its token service gave no token: {refused}",
                        remedy=f"Run `{self.command}`.",
                    ) from refused
                self._login = login_of(self._host, self._config)
        return ""

    def _header(self, session: requests.Session, challenge: str, login: Login, registry: str) -> str:
        scheme, _, rest = challenge.partition(" ")
        parameters = dict(_PARAMETER.findall(rest))
        if scheme.lower() == "bearer" and "realm" in parameters:
            realm = parameters["realm"]
            if registry.startswith("https:") and realm.startswith("http:") and not _here(realm):
                raise _Refused(f"{realm} would get the password in clear text")
            token = self._token(session, parameters, login)
            return f"Bearer {token}" if token else ""
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
            body: dict[str, Any] = dict(response.json())
        except (requests.RequestException, ValueError, TypeError) as error:
            raise _Refused(f"{realm}: {error}") from error
        return str(body.get("token") or body.get("access_token") or "")


def _nothing(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _here(url: str) -> bool:
    return LOOPBACK.match(urlsplit(url).netloc) is not None


def _scope(url: str) -> str:
    """Return the repository's part of an address: tokens are given for one repository."""
    path = urlsplit(url).path.partition("/v2/")[2]
    found = _REPOSITORY.fullmatch(path)
    return found[1] if found else ""
