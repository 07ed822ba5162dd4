"""Which restrictions a container cannot bear that was not made for them, and why."""

from __future__ import annotations

from typing import Any

from slipway._internal.adopt.plan import Draft

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
            "It starts as root: official images then give their files to a user of their own and become it, which takes "
            "these.\nAn image with a USER of its own needs none; then remove this line."
        )
    if security:
        draft.settings["security"] = security
