"""The restrictions of every Slipway container, and its init process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import engine

T = TypeVar("T")
INIT_BINARY = "docker-init"
MAX_PROCESSES = 4096
TMP_DIR = "/tmp"  # noqa: S108 - the container's own


_engines_without_init: set[str] = set()
"""The addresses of engines that have no init binary."""


def with_init_fallback(make: Callable[[], T]) -> T:
    """Return what `make` creates with `hardened_settings`; retry without an init process if the engine has none.

    Docker's and Debian's engines include one. Others may not, and fail only when a container is started.
    """
    try:
        return make()
    except SlipwayError as error:
        if engine.address() in _engines_without_init or INIT_BINARY not in f"{error.message} {error.detail}":
            raise
        _engines_without_init.add(engine.address())
    return make()


def hardened_settings(
    *,
    tmp_exec: bool = False,
    tmp_size: str | None = None,
    read_only: bool = True,
    capabilities: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the settings of every Slipway container, as the Docker SDK names them.

    Args:
        tmp_exec: whether programs may run from its /tmp.
        tmp_size: the size limit of its /tmp, like `64m`.
        read_only: False to let it write to its root file system.
        capabilities: those that it keeps.
    """
    size = f",size={tmp_size}" if tmp_size else ""
    return {
        "init": engine.address() not in _engines_without_init,
        "read_only": read_only,
        "tmpfs": {TMP_DIR: f"rw,{'exec' if tmp_exec else 'noexec'},nosuid,nodev,mode=1777{size}"},
        "cap_drop": ["ALL"],
        **({"cap_add": [*capabilities]} if capabilities else {}),
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": MAX_PROCESSES,
    }
