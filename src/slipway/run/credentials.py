"""How a registry is told who asks: Docker's config and credential helpers, token services, passwords."""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from slipway.model.errors import ConfigError, SlipwayError
from slipway.model.masking import keep_secret
from slipway.model.workspace import Workspace
from slipway.run import docker_config, engine
from slipway.run.http import (
    HEADER_LIMIT,
    HOPS,
    RedirectRefused,
    TooLong,
    TooSlow,
    is_loopback,
    origin,
    read_body,
    redirect_target,
    without_login,
)

if TYPE_CHECKING:
    import requests

HUB = "docker.io"
HUB_LOGIN = "https://index.docker.io/v1/"
TIMEOUT = (5.0, 15.0)
Purpose = Literal["push", "pull"]
VARIABLES: dict[Purpose, str] = {"push": "SLIPWAY_PUSH_CONFIG", "pull": "SLIPWAY_PULL_CONFIG"}
"""The environment variables that name the folder of a Docker config for a purpose, over workspace.toml's."""
_REPOSITORY = re.compile(r"(.+)/(?:manifests|blobs|tags|referrers)/[^/]*")
TOKEN_LIMIT = 1 << 20
_TOKEN = re.compile(r"[\x20-\x7e]*")
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
        ConfigError: a folder that is named holds no config.json; or a config is damaged, or names a program for logins
            that is missing.
    """
    host = workspace.registry.partition("/")[0]
    if workspace.local_registry:
        docker_config.do_without_helper(host, workspace.scratch / "docker")
    else:
        docker_config.require_helper(host)
    for purpose, variable in VARIABLES.items():
        if config := config_of(workspace, purpose):
            os.environ[variable] = str(config)
            docker_config.require_helper(host, config)


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
    docker_config.read(config)
    try:
        known = docker.auth.load_config(str(config / "config.json") if config else None)
        found = known.resolve_authconfig(HUB_LOGIN if host == HUB else host) or {}
    except (docker.errors.DockerException, ValueError, OSError) as error:
        raise SlipwayError(
            f"Docker's login for {host} cannot be read: {error}", remedy=f"Run `{login_command(host, config)}`."
        ) from error
    plain = {str(key).lower(): str(value or "") for key, value in found.items()}
    login = Login(plain.get("username", ""), plain.get("password", ""), plain.get("identitytoken", ""))
    keep_secret(login.password)
    keep_secret(login.token)
    return login


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

    def answer(self, session: requests.Session, response: requests.Response, expires: float) -> bool:
        """Meet the challenge of the registry's own 401 answer; return whether there is something new to try.

        Args:
            session: to ask a token service with.
            response: of the registry itself: what a redirect's target wants to know is not for it.
            expires: on the monotonic clock.

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
            header = self._once_more(session, response, expires, fresh=fresh)
            if not header or header == sent:
                return False
            self._headers[scope] = header
            return True

    def _once_more(self, session: requests.Session, response: requests.Response, expires: float, *, fresh: bool) -> str:
        """Return the header that a challenge asks for; with a new login when the one known is no good any more."""
        challenge = response.headers.get("WWW-Authenticate", "")[:HEADER_LIMIT]
        registry = response.url
        for last in (fresh, True):
            try:
                return self._header(session, challenge, self._login or Login(), registry, expires)
            except _Refused as refused:
                if last:
                    raise SlipwayError(
                        f"{self._host}: its token service gave no token: {refused}",
                        remedy=f"Run `{self.command}`.",
                    ) from refused
                self._login = login_of(self._host, self._config)
        return ""

    def _header(self, session: requests.Session, challenge: str, login: Login, registry: str, expires: float) -> str:
        scheme, _, rest = challenge.partition(" ")
        parameters = dict(_PARAMETER.findall(rest))
        if scheme.lower() == "bearer" and "realm" in parameters:
            realm = parameters.pop("realm")
            if not _is_safe(realm, registry):
                raise _Refused(f"{realm} would get the password in clear text")
            asked = {key: value for key, value in parameters.items() if key in ("service", "scope")}
            token = self._token(session, realm, asked, login, expires)
            return f"Bearer {token}" if token else ""
        return _basic(login) if scheme.lower() == "basic" else ""

    def _token(self, session: requests.Session, realm: str, asked: dict[str, str], login: Login, expires: float) -> str:
        import requests

        try:
            with _asked(session, realm, asked, login) as response:
                body: dict[str, Any] = dict(json.loads(read_body(response, TOKEN_LIMIT, expires)))
                response.raise_for_status()
        except RedirectRefused as error:
            raise _Refused(f"{realm} sends on to {error}") from error
        except TooLong as error:
            raise _Refused(f"{realm} answers with more than {TOKEN_LIMIT} bytes") from error
        except TooSlow as error:
            raise _Refused(f"{realm} gave no whole answer in time") from error
        except (requests.RequestException, ValueError, TypeError, OSError, RecursionError) as error:
            raise _Refused(f"{realm}: {error}") from error
        token = body.get("token") or body.get("access_token") or ""
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise _Refused(f"{realm} gives something that is no token")
        return token


def _asked(session: requests.Session, realm: str, asked: dict[str, str], login: Login) -> requests.Response:
    """Ask a token service. What it is sent on to gets the login only where that is the same service still.

    Raises:
        RedirectRefused: it is sent on to elsewhere.
    """
    method, url = ("POST" if login.token else "GET"), realm
    form = {**asked, "grant_type": "refresh_token", "refresh_token": login.token, "client_id": "slipway"}
    headers = {"Accept-Encoding": "identity"}
    if not login.token and login.user:
        headers["Authorization"] = _basic(login)
    for hop in range(HOPS + 1):
        response = session.request(
            method,
            url,
            params=asked if method == "GET" and not hop else None,
            data=form if login.token else None,
            headers=headers,
            timeout=TIMEOUT,
            auth=without_login,
            allow_redirects=False,
            stream=True,
        )
        following = redirect_target(response)
        if following is None:
            return response
        response.close()
        if origin(following) != origin(realm):
            raise RedirectRefused(f"{origin(following)[1]}, which is another host")
        url = following
    raise RedirectRefused(f"itself, more than {HOPS} times")


def _basic(login: Login) -> str:
    pair = f"{login.user}:{login.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}" if login.user else ""


def _is_safe(realm: str, registry: str) -> bool:
    """Return whether a token service may get the password: by TLS alone, or where both are on this machine."""
    try:
        scheme, host, _ = origin(realm)
    except ValueError:
        return False
    return bool(host) and (scheme == "https" or (scheme == "http" and is_loopback(realm) and is_loopback(registry)))


def _scope(url: str) -> str:
    """Return the repository's part of an address: tokens are given for one repository."""
    path = urlsplit(url).path.partition("/v2/")[2]
    found = _REPOSITORY.fullmatch(path)
    return found[1] if found else ""
