"""Which restrictions a container cannot bear that was not made for them, and why."""

from __future__ import annotations

from typing import Any

from slipway._internal.adopt.plan import Draft

MEMORY, CPUS = "512m", 1.0
"""The limits of a service for which nothing names any: the workspace's rule `limits-set` asks for both."""
LARGE_MEMORY = "2g"
"""What programs get that do not start with less: JVMs and search engines."""

ROOT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")
"""What a program needs that starts as root, gives its files to a user and becomes that user, as official images do."""
LOW_PORTS = 1024


def lift_restrictions(draft: Draft, *, is_root: bool, user: str | None = None, read_only: bool = False) -> None:
    """Give a service the [security] with which an image runs that was made for a plain engine.

    Args:
        draft: the service; its `port` counts.
        is_root: whether the container starts as root.
        user: the user to run it as, in place of the image's.
        read_only: whether its file system is read-only where it runs now.
    """
    security: dict[str, Any] = {}
    if not read_only:
        security["read-only"] = False
        draft.comments["security.read-only"] = (
            "The image may write outside of /tmp. Try without this line: then nothing in the container can be changed."
        )
    if user is not None:
        security["user"] = user
    if is_root:
        low = draft.settings.get("port", LOW_PORTS) < LOW_PORTS
        security["capabilities"] = [
            *ROOT_CAPABILITIES[:3],
            *(["NET_BIND_SERVICE"] if low else []),
            *ROOT_CAPABILITIES[3:],
        ]
        draft.comments["security.capabilities"] = (
            "It starts as root: official images then give their files to a user of their own and become it, which "
            "takes these.\nAn image with a USER of its own needs none; then remove this line."
        )
    if security:
        draft.settings["security"] = security


def set_limits(draft: Draft, where: str, *, is_large: bool = False) -> None:
    """Give a service the limits that it has none of."""
    resources = draft.settings.setdefault("resources", {})
    missing = [key for key in ("memory", "cpus") if key not in resources]
    if not missing:
        return
    for key, value in (("memory", LARGE_MEMORY if is_large else MEMORY), ("cpus", CPUS)):
        resources.setdefault(key, value)
        if key in missing:
            draft.comments[f"resources.{key}"] = "Nothing named a limit: measure what it needs."
    shown = " and ".join(f"{key} = {resources[key]}" for key in missing)
    draft.tell("to do", where, "resources", f"nothing names a limit, so it gets {shown}", "[resources]")
