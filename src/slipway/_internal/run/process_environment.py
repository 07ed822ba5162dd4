"""Checks the environment of this process and its children: what would break the work is corrected or refused.

One place, asked once at each verb's start: whatever the user's shell, company or machine has set, the programs that
Slipway starts read the same variables.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import MutableMapping
from pathlib import Path

from slipway._internal.model.errors import ConfigError

NODE_ADDRESS = "10.211.0.1"
"""Where the Kubernetes node listens that `invoke cluster up` starts on this machine."""
LOOPBACK_HOSTS = (
    *("localhost", "127.0.0.1", "127.0.0.0/8", "::1", "[::1]"),
    *("0.0.0.0", NODE_ADDRESS),  # noqa: S104 - compared, not bound to
)
"""What no proxy is asked for: this machine. Some programs know names alone, some address ranges."""
NO_PROXY_VARIABLES = ("no_proxy", "NO_PROXY")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")

OVERRIDDEN_VARIABLES = (
    # How images are built is the workspace's to say: a build of the same content is the same on each machine.
    "DOCKER_BUILDKIT",
    "DOCKER_DEFAULT_PLATFORM",
    "BUILDX_BUILDER",
    "BUILDX_BAKE_FILE",
    "BUILDX_BAKE_FILE_SEPARATOR",
    "BUILDKIT_HOST",
    "BUILDKIT_PROGRESS",
    # Pulumi finds its plugins on the PATH that Slipway gives it, and is told the stack.
    "PULUMI_IGNORE_AMBIENT_PLUGINS",
    "PULUMI_STACK",
)
"""Variables that are taken away: Slipway says itself what they would say."""
PULUMI_OPTION_PREFIX = "PULUMI_OPTION_"
"""How variables begin that stand for Pulumi's own flags: one of them would change what Slipway reads."""
PATH_VARIABLES = ("DOCKER_CONFIG", "DOCKER_CERT_PATH", "PULUMI_CONFIG_PASSPHRASE_FILE", "PULUMI_HOME", "TMPDIR")
"""Variables that name a path: programs that run in other folders than this one would take it for another."""
UNSET_WHEN_EMPTY = (*PATH_VARIABLES, "DOCKER_HOST", "DOCKER_CONTEXT", "KUBECONFIG", "PULUMI_BACKEND_URL")
"""Variables that some programs take for set when they are empty, and others do not."""
XDG_FOLDERS = {"XDG_CACHE_HOME": ".cache", "XDG_STATE_HOME": ".local/state"}
"""Where Slipway keeps what all workspaces of a user share: the variable, and the folder in HOME without it."""


def sanitize_environment(root: Path, environment: MutableMapping[str, str] | None = None) -> None:
    """Make the environment one that everything which Slipway starts can work in; doing it twice changes nothing.

    Args:
        root: the workspace.
        environment: this process's own, if it is not given.

    Raises:
        ConfigError: a variable names what is not there, and nothing else could be meant.
    """
    environment = os.environ if environment is None else environment
    for name in [*environment]:
        unset = name in UNSET_WHEN_EMPTY and not environment[name].strip()
        if unset or name in OVERRIDDEN_VARIABLES or name.startswith(PULUMI_OPTION_PREFIX):
            del environment[name]
        elif name in PATH_VARIABLES:
            environment[name] = os.path.abspath(Path(environment[name]).expanduser())  # noqa: PTH100 - a link stays one
    if not environment.get("PULUMI_CONFIG_PASSPHRASE", "-") and (root / ".slipway" / "passphrase").is_file():
        del environment["PULUMI_CONFIG_PASSPHRASE"]  # the workspace has one of its own, and it is not the empty one
    bypass_proxies(environment)
    _require_home(environment)
    _require_paths(environment)


def bypass_proxies(environment: MutableMapping[str, str]) -> None:
    """Let nothing ask a proxy for this machine; the user's own exceptions stay, in both spellings."""
    if not any(name in environment or name.upper() in environment for name in PROXY_VARIABLES):
        return
    user_entries = [entry.strip() for name in NO_PROXY_VARIABLES for entry in environment.get(name, "").split(",")]
    combined = ",".join(dict.fromkeys([entry for entry in user_entries if entry] + list(LOOPBACK_HOSTS)))
    for name in NO_PROXY_VARIABLES:
        environment[name] = combined
    if "no_grpc_proxy" in environment:  # gRPC takes it in the others' place
        environment["no_grpc_proxy"] = ",".join(dict.fromkeys([environment["no_grpc_proxy"], *LOOPBACK_HOSTS]))


def _require_home(environment: MutableMapping[str, str]) -> None:
    """Set HOME where it is not (cron, some containers); programs in Go do not ask the user database.

    Raises:
        ConfigError: there is none, or it is not a folder.
    """
    home = environment.get("HOME", "")
    if not home:
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            home = ""
    if not Path(home or "/dev/null").is_dir():
        raise ConfigError(
            f"HOME is {home}, which is not a folder"
            if home
            else f"HOME is not set, and user {os.getuid()} has no home",
            remedy="Set HOME to a folder that this user may write: caches and the state of what runs are kept there.",
        )
    environment["HOME"] = home


def _require_paths(environment: MutableMapping[str, str]) -> None:
    """Refuse what programs would read or write and cannot.

    Raises:
        ConfigError: the passphrase's file, TMPDIR, or a folder of Slipway's own.
    """
    passphrase_file = environment.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if passphrase_file and "PULUMI_CONFIG_PASSPHRASE" not in environment and not os.access(passphrase_file, os.R_OK):
        raise ConfigError(
            f"PULUMI_CONFIG_PASSPHRASE_FILE is {passphrase_file}, which cannot be read",
            remedy="Name the file that holds the passphrase of the stack's secrets, or unset the variable.",
        )
    temporary_folder = environment.get("TMPDIR")
    if temporary_folder and not _is_writable(Path(temporary_folder)):
        raise ConfigError(
            f"TMPDIR is {temporary_folder}, which is not a folder that this user may write",
            remedy="Make it, or unset TMPDIR.",
        )
    for variable, default in XDG_FOLDERS.items():
        if not Path(environment.get(variable) or "/").is_absolute():
            del environment[variable]  # as its specification says
        folder = Path(environment.get(variable) or Path(environment["HOME"]) / default) / "slipway"
        existing = next(parent for parent in (folder, *folder.parents) if _exists(parent))
        if not _is_writable(existing):
            raise ConfigError(
                f"{folder} is needed, and this user may not write {existing}",
                remedy=f"Set {variable}, or HOME, to a folder that this user may write.",
            )


def _exists(path: Path) -> bool:
    """Whether a path is there, as far as this user may know."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def _is_writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
