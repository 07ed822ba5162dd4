"""Authenticates at registries: Docker's config and credential helpers, token services, passwords."""

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

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.masking import register_secret
from slipway._internal.model.workspace import Workspace
from slipway._internal.run import docker_config, engine
from slipway._internal.run.http import (
    HEADER_LIMIT,
    MAX_REDIRECTS,
    RedirectRefused,
    ResponseTooLarge,
    ResponseTooSlow,
    is_loopback,
    no_auth,
    origin,
    read_body,
    redirect_target,
)

if TYPE_CHECKING:
    import requests

HUB = "docker.io"
HUB_LOGIN = "https://index.docker.io/v1/"
REQUEST_TIMEOUT = (5.0, 15.0)
LoginPurpose = Literal["push", "pull"]
CONFIG_VARIABLES: dict[LoginPurpose, str] = {"push": "SLIPWAY_PUSH_CONFIG", "pull": "SLIPWAY_PULL_CONFIG"}
"""The environment variables that name the folder of a Docker config for a purpose, over workspace.toml's."""
_REPOSITORY_PATTERN = re.compile(r"(.+)/(?:manifests|blobs|tags|referrers)/[^/]*")
MAX_TOKEN_BYTES = 1 << 20
_TOKEN_PATTERN = re.compile(r"[\x20-\x7e]*")
_PARAMETER_PATTERN = re.compile(r'([a-zA-Z_]+)="([^"]*)"')


@dataclass(frozen=True)
class Login:
    """The login that `docker login` stored for a registry; both empty without one."""

    user: str = ""
    password: str = ""
    token: str = ""

    def __repr__(self) -> str:
        return f"Login(user={self.user!r})"


def login_config_of(workspace: Workspace, purpose: LoginPurpose) -> Path | None:
    """Return the folder of the Docker config to log in with; None for the user's own.

    Raises:
        ConfigError: the folder that is named holds no config.json, or the user's config is damaged.
    """
    variable = CONFIG_VARIABLES[purpose]
    configured = os.environ.get(variable)
    source = f"the environment variable {variable}"
    if not configured:
        configured = getattr(workspace.settings.logins, purpose)
        source = f"{workspace.root / 'workspace.toml'}: [logins] {purpose}"
    if configured:
        return _require_config_folder(workspace.root / Path(configured).expanduser(), source)
    return user_config_of(workspace)


def user_config_of(workspace: Workspace) -> Path | None:
    """Return the folder of a Docker config like the user's without a program for logins that is missing; else None.

    A registry on this machine needs no login, so nobody has to be asked for one.

    Raises:
        ConfigError: the user's config is damaged.
    """
    if not workspace.local_registry:
        return None
    return docker_config.without_missing_helper(workspace.registry.partition("/")[0], workspace.scratch / "docker")


def login_config_in_environment(purpose: LoginPurpose) -> Path | None:
    """Return the folder that SLIPWAY_PUSH_CONFIG or SLIPWAY_PULL_CONFIG names; None for the user's own.

    Raises:
        ConfigError: it holds no config.json.
    """
    configured = os.environ.get(CONFIG_VARIABLES[purpose])
    return (
        _require_config_folder(Path(configured).expanduser(), f"the environment variable {CONFIG_VARIABLES[purpose]}")
        if configured
        else None
    )


def check_logins(workspace: Workspace) -> None:
    """Refuse logins that cannot work before anything is begun with them.

    Raises:
        ConfigError: a folder that is named holds no config.json; or a config is damaged, or names a program for logins
            that is missing.
    """
    host = workspace.registry.partition("/")[0]
    if not workspace.local_registry:
        docker_config.require_helper(host)
    for purpose in CONFIG_VARIABLES:
        if config := login_config_of(workspace, purpose):
            docker_config.require_helper(host, config)


def login_environment(workspace: Workspace, purpose: LoginPurpose) -> dict[str, str]:
    """Return the variables with which crane, cosign and Trivy log in for a purpose; none where the user's login serves.

    Raises:
        ConfigError: the folder that is named holds no config.json.
    """
    config = login_config_of(workspace, purpose)
    return {"DOCKER_CONFIG": str(config)} if config else {}


def _require_config_folder(folder: Path, source: str) -> Path:
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"{source} is {folder}, which holds no config.json",
            remedy=f"Make one: `docker --config {folder} login REGISTRY`.",
        )
    return folder.resolve()


def login_command(host: str, config: Path | None = None) -> str:
    """Return the command by which the user logs in to a registry, into the config that is used."""
    return f"docker --config {config} login {host}" if config else f"docker login {host}"


def read_login(host: str, config: Path | None = None) -> Login:
    """Return the login for a registry from a Docker config or the credential helper that it names.

    Args:
        host: the registry.
        config: the config's folder; else the user's (DOCKER_CONFIG honoured).

    Raises:
        SlipwayError: the config or the helper that it names is broken.
    """
    docker = engine.load_sdk()
    docker_config.read_config(config)
    try:
        known = docker.auth.load_config(str(config / "config.json") if config else None)
        entry = known.resolve_authconfig(HUB_LOGIN if host == HUB else host) or {}
    except (docker.errors.DockerException, ValueError, OSError) as error:
        raise SlipwayError(
            f"Docker's login for {host} cannot be read: {error}", remedy=f"Run `{login_command(host, config)}`."
        ) from error
    lowercase = {str(key).lower(): str(value or "") for key, value in entry.items()}
    login = Login(lowercase.get("username", ""), lowercase.get("password", ""), lowercase.get("identitytoken", ""))
    register_secret(login.password)
    register_secret(login.token)
    return login


class _TokenRefused(Exception):
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
    def login_command(self) -> str:
        """The command by which the user logs in."""
        return login_command(self._host, self._config)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the header on a request (as requests asks of an `auth`); this also keeps ~/.netrc out of it."""
        header = self._headers.get(_repository_scope(str(request.url)))
        if header:
            request.headers["Authorization"] = header
        return request

    def answer_challenge(self, session: requests.Session, response: requests.Response, expires: float) -> bool:
        """Meet the challenge of the registry's own 401 answer; return whether there is something new to try.

        Args:
            session: to ask a token service with.
            response: of the registry itself: what a redirect's target wants to know is not for it.
            expires: on the monotonic clock.

        Raises:
            SlipwayError: the login cannot be read, or the token service refuses it.
        """
        scope = _repository_scope(response.url)
        sent = response.request.headers.get("Authorization")
        with self._lock:
            current = self._headers.get(scope)
            if current and current != sent:  # another thread has just met it
                return True
            renew = sent is not None or self._login is None  # what was refused may have expired: ask for it anew
            if renew or self._login is None:
                self._login = read_login(self._host, self._config)
            header = self._request_header(session, response, expires, fresh=renew)
            if not header or header == sent:
                return False
            self._headers[scope] = header
            return True

    def _request_header(
        self, session: requests.Session, response: requests.Response, expires: float, *, fresh: bool
    ) -> str:
        """Return the header that a challenge asks for; with a new login when the one known is no good any more."""
        challenge = response.headers.get("WWW-Authenticate", "")[:HEADER_LIMIT]
        registry = response.url
        for last in (fresh, True):
            try:
                return self._authorization_header(session, challenge, self._login or Login(), registry, expires)
            except _TokenRefused as refused:
                if last:
                    raise SlipwayError(
                        f"{self._host}: its token service gave no token: {refused}",
                        remedy=f"Run `{self.login_command}`.",
                    ) from refused
                self._login = read_login(self._host, self._config)
        return ""

    def _authorization_header(
        self, session: requests.Session, challenge: str, login: Login, registry: str, expires: float
    ) -> str:
        scheme, _, rest = challenge.partition(" ")
        parameters = dict(_PARAMETER_PATTERN.findall(rest))
        if scheme.lower() == "bearer" and "realm" in parameters:
            realm = parameters.pop("realm")
            if not _is_safe_realm(realm, registry):
                raise _TokenRefused(f"{realm} would get the password in clear text")
            query = {key: value for key, value in parameters.items() if key in ("service", "scope")}
            token = self._fetch_token(session, realm, query, login, expires)
            return f"Bearer {token}" if token else ""
        return _basic_header(login) if scheme.lower() == "basic" else ""

    def _fetch_token(
        self, session: requests.Session, realm: str, query: dict[str, str], login: Login, expires: float
    ) -> str:
        import requests

        try:
            with _request_token(session, realm, query, login) as response:
                body: dict[str, Any] = dict(json.loads(read_body(response, MAX_TOKEN_BYTES, expires)))
                response.raise_for_status()
        except RedirectRefused as error:
            raise _TokenRefused(f"{realm} sends on to {error}") from error
        except ResponseTooLarge as error:
            raise _TokenRefused(f"{realm} answers with more than {MAX_TOKEN_BYTES} bytes") from error
        except ResponseTooSlow as error:
            raise _TokenRefused(f"{realm} did not answer completely in time") from error
        except (requests.RequestException, ValueError, TypeError, OSError, RecursionError) as error:
            raise _TokenRefused(f"{realm}: {error}") from error
        token = body.get("token") or body.get("access_token") or ""
        if not isinstance(token, str) or not _TOKEN_PATTERN.fullmatch(token):
            raise _TokenRefused(f"{realm} returns something that is not a token")
        return token


def _request_token(session: requests.Session, realm: str, query: dict[str, str], login: Login) -> requests.Response:
    """Ask a token service. What it is sent on to gets the login only where that is the same service still.

    Raises:
        RedirectRefused: it is sent on to elsewhere.
    """
    method, url = ("POST" if login.token else "GET"), realm
    form = {**query, "grant_type": "refresh_token", "refresh_token": login.token, "client_id": "slipway"}
    headers = {"Accept-Encoding": "identity"}
    if not login.token and login.user:
        headers["Authorization"] = _basic_header(login)
    for hop in range(MAX_REDIRECTS + 1):
        response = session.request(
            method,
            url,
            params=query if method == "GET" and not hop else None,
            data=form if login.token else None,
            headers=headers,
            timeout=REQUEST_TIMEOUT,
            auth=no_auth,
            allow_redirects=False,
            stream=True,
        )
        target = redirect_target(response)
        if target is None:
            return response
        response.close()
        if origin(target) != origin(realm):
            raise RedirectRefused(f"{origin(target)[1]}, which is another host")
        url = target
    raise RedirectRefused(f"itself, more than {MAX_REDIRECTS} times")


def _basic_header(login: Login) -> str:
    pair = f"{login.user}:{login.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}" if login.user else ""


def _is_safe_realm(realm: str, registry: str) -> bool:
    """Return whether a token service may get the password: by TLS alone, or where both are on this machine."""
    try:
        scheme, host, _ = origin(realm)
    except ValueError:
        return False
    return bool(host) and (scheme == "https" or (scheme == "http" and is_loopback(realm) and is_loopback(registry)))


def _repository_scope(url: str) -> str:
    """Return the repository's part of an address: tokens are given for one repository."""
    path = urlsplit(url).path.partition("/v2/")[2]
    match = _REPOSITORY_PATTERN.fullmatch(path)
    return match[1] if match else ""
