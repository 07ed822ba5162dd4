"""What every container of Slipway may not do, and the init process that each has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import engine

T = TypeVar("T")
INIT_BINARY = "docker-init"
MAX_PROCESSES = 4096
TMP_DIR = "/tmp"  # noqa: S108 - the container's own


_engines_without_init: set[str] = set()
"""The addresses of engines that have no init to give."""


def with_init_fallback(make: Callable[[], T]) -> T:
    """Return what `make` makes of `hardened_settings` settings; again, without an init, where the engine has none.

    Debian's engine comes with one, and Docker's own; another may not, and tells it only when a container is started.
    """
    try:
        return make()
    except SlipwayError as error:
        if engine.address() in _engines_without_init or INIT_BINARY not in f"{error.message} {error.detail}":
            raise
        _engines_without_init.add(engine.address())
    return make()


def hardened_settings(*, tmp_exec: bool = False, tmp_size: str | None = None) -> dict[str, Any]:
    """Return the settings that every container of Slipway has, as the Docker SDK names them.

    Args:
        tmp_exec: whether programs may be run from its /tmp.
        tmp_size: the most that its /tmp may hold, like `64m`.
    """
    size = f",size={tmp_size}" if tmp_size else ""
    return {
        "init": engine.address() not in _engines_without_init,
        "read_only": True,
        "tmpfs": {TMP_DIR: f"rw,{'exec' if tmp_exec else 'noexec'},nosuid,nodev,mode=1777{size}"},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": MAX_PROCESSES,
    }
