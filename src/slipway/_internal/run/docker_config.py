"""Docker's own configuration as the user has it: which engine it names, and which programs keep its logins.

The files are read here, without the SDK: it takes a damaged file for none, and a missing context for the default.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.files import MEGABYTE, read_bytes, write_atomically
from slipway._internal.model.masking import register_secret
from slipway._internal.model.parsing import ParseError, convert, parse_json
from slipway._internal.model.structured_files import path_exists, read_json
from slipway._internal.run import ssh

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
SCHEMES = ("unix", "tcp", "http", "https", "ssh", "npipe")


def config_folder() -> Path:
    """Return the folder of the user's Docker configuration."""
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


def read_config(config: Path | None = None) -> dict[str, Any]:
    """Return what a folder's config.json says, by default the user's; nothing where there is none.

    Raises:
        ConfigError: it cannot be read, or is not a JSON object.
    """
    file = (config or config_folder()) / "config.json"
    hint = "DOCKER_CONFIG names its folder" if os.environ.get("DOCKER_CONFIG") and not config else ""
    remedy = f"Correct it or remove it; `docker login` writes it anew.{f' {hint}.' if hint else ''}"
    if not path_exists(file):
        return {}
    config_data = read_json(file, dict[str, Any], what="config of Docker", remedy=remedy)
    try:
        convert(config_data, _DockerConfig)
    except ParseError as error:
        raise ConfigError(f"{file} is not a Docker configuration file: {error}", remedy=remedy) from error
    _mask_logins(config_data)
    return config_data


class _Login(msgspec.Struct):
    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identitytoken: str | None = None


class _DockerConfig(msgspec.Struct, rename="camel"):
    """The form of what the SDK takes from a config.json without asking what it is."""

    auths: dict[str, _Login] | None = None
    creds_store: str | None = None
    cred_helpers: dict[str, str] | None = None
    proxies: dict[str, dict[str, str]] | None = None
    current_context: str | None = None
    http_headers: dict[str, str] | None = msgspec.field(name="HttpHeaders", default=None)


def _mask_logins(config: dict[str, Any]) -> None:
    """Mask the logins that a configuration holds in plain text."""
    for login in (config.get("auths") or {}).values():
        pair = str(login.get("auth") or "")
        with suppress(ValueError):
            register_secret(base64.b64decode(pair).decode().partition(":")[2])
        for value in (pair, login.get("password"), login.get("identitytoken"), login.get("registrytoken")):
            register_secret(str(value or ""))


def engine_address() -> str:
    """Return the engine's address: DOCKER_HOST, else the Docker context in use, else the default socket.

    Raises:
        ConfigError: DOCKER_HOST is not an address, or there is no such context.
    """
    if host := os.environ.get("DOCKER_HOST"):
        return _require_valid_address(host, "DOCKER_HOST")
    name = os.environ.get("DOCKER_CONTEXT")
    source = "the environment variable DOCKER_CONTEXT"
    if not name:
        name, source = (
            read_config().get("currentContext") or "default",
            f"{config_folder() / 'config.json'}: currentContext",
        )
    if name == "default":
        return DEFAULT_ADDRESS
    file = config_folder() / "contexts" / "meta" / hashlib.sha256(str(name).encode()).hexdigest() / "meta.json"
    try:
        metadata: Any = parse_json(read_bytes(file, MEGABYTE))
        host = metadata["Endpoints"]["docker"].get("Host") or DEFAULT_ADDRESS
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{source} is {name!r}, and Docker has no such context",
            remedy="`docker context ls` lists them; `docker context use default` takes this machine's.",
        ) from error
    return _require_valid_address(str(host), f"the Docker context {name!r}")


def _require_valid_address(host: str, source: str) -> str:
    if host.startswith(ssh.SSH_SCHEME):
        ssh.parse_address(host, source)
        return host
    try:
        parts = urlsplit(host)
        valid = parts.scheme in SCHEMES and bool(parts.netloc or parts.path) and parts.port != 0
    except ValueError:
        valid = False
    if valid:
        return host
    raise ConfigError(
        f"{source} is {host!r}, which is not the address of an engine",
        remedy=f"Write {DEFAULT_ADDRESS}, tcp://HOST:PORT or ssh://USER@HOST; without it, this machine's is used.",
    )


def require_helper(host: str, config: Path | None = None) -> None:
    """Make sure that the program is there which keeps a registry's login, where the configuration names one.

    Docker, BuildKit's client, crane and cosign all ask it, also for a registry that needs no login.

    Raises:
        ConfigError: it is missing, or the configuration is damaged.
    """
    key, name = _missing_helper(host, read_config(config))
    if key:
        raise ConfigError(
            f"{(config or config_folder()) / 'config.json'}: `{key}` is {name!r}, and docker-credential-{name} is not "
            "on PATH",
            remedy=f"Install docker-credential-{name}, or remove `{key}` from that file and log in again; or set "
            f"DOCKER_CONFIG to another folder. It is asked for the login of {host}.",
        )


def without_missing_helper(host: str, copy: Path) -> Path | None:
    """Return a folder like the user's, but for the key that names a program for logins which is missing; else None.

    With it, nothing asks that program for the login of a registry on this machine.

    Args:
        host: the registry.
        copy: the folder that is made then.

    Raises:
        ConfigError: the configuration is damaged.
    """
    user_folder, config_data = config_folder(), read_config()
    key, _ = _missing_helper(host, config_data)
    if not key:
        return None
    if key == "credHelpers":
        config_data = {**config_data, key: {name: helper for name, helper in config_data[key].items() if name != host}}
    config_data = {name: value for name, value in config_data.items() if name != key or key == "credHelpers"}
    if _missing_helper(host, config_data)[0]:  # without its own, the one for all is asked
        config_data.pop("credsStore")
    copy.mkdir(parents=True, exist_ok=True, mode=0o700)
    for part in user_folder.iterdir():
        if part.name != "config.json" and not (copy / part.name).is_symlink():
            (copy / part.name).symlink_to(part)
    write_atomically(copy / "config.json", json.dumps(config_data), mode=0o600)
    return copy


def _missing_helper(host: str, config: Mapping[str, Any]) -> tuple[str, str]:
    """Return the key that names the program for a registry's login, and its name, where it is missing; else nothing."""
    helpers = config.get("credHelpers")
    own = isinstance(helpers, dict) and host in helpers
    name = helpers[host] if own and isinstance(helpers, dict) else config.get("credsStore")
    if not name or shutil.which(f"docker-credential-{name}"):
        return "", ""
    return ("credHelpers" if own else "credsStore"), str(name)
