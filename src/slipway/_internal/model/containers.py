"""What a service.toml says about a container beyond its image: commands, health check, volumes, restrictions, data."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from string import Formatter
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.names import DNS_LABEL

ErrorFactory = Callable[[tuple[str, ...], str, str], ConfigError]
"""Makes the error for a key in a file: the key, what is wrong with it, the remedy."""
Seconds = Annotated[int, Meta(ge=1, le=3600)]
MEMORY_SIZE = re.compile(r"[1-9][0-9]{0,8}[kmg]")
SECRETS_DIR = "/run/secrets"
CAPABILITIES = frozenset(
    {
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    }
)
"""The capabilities that an engine gives a container by default. A service may have some of them back, but no other."""
URL_PLACEHOLDERS = ("host", "port")
_PINNED_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
_VOLUME_PATH = re.compile(r"(/(?!\.\.?(?:/|$))[^/\s:,]+)+")
_RESERVED_PATHS = (SECRETS_DIR, "/tmp", "/proc", "/sys", "/dev")  # noqa: S108 - the container's own


class VolumeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A folder whose files outlive the container. `size` is what a cluster reserves; an engine has no such limit."""

    name: str
    path: str
    size: str = "1g"


class HealthcheckSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """A health check that replaces the image's, as HEALTHCHECK has it: a command, without a shell; times in seconds."""

    command: tuple[str, ...]
    interval: Seconds = 10
    timeout: Seconds = 3
    retries: Annotated[int, Meta(ge=1, le=100)] = 3
    start_period: Annotated[int, Meta(ge=0, le=3600)] = 0


class SecuritySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The restrictions that are lifted for an image that was not made for them; `user` replaces the image's USER."""

    read_only: bool = True
    capabilities: tuple[str, ...] = ()
    user: str | None = None


class BackupSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How data is saved and put back while the service runs.

    `dump` writes it to its standard output, `restore` reads that from its standard input, and `check` reads it too and
    fails if it is damaged. Without `dump`, the service is stopped and its volumes are copied.
    """

    dump: tuple[str, ...] = ()
    restore: tuple[str, ...] = ()
    check: tuple[str, ...] = ()


class ContainerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The part of a `service.toml` that this module checks.

    `image` is an image by digest that runs in place of one built from a Dockerfile. `entrypoint` and `command` replace
    the image's ENTRYPOINT and CMD. `release` runs once for each new image, before it serves. `generated` names secrets
    that are generated when the stack is first deployed. `url` is the address that services which need this one get,
    with {host}, {port} and the names of secrets in braces.
    """

    image: str | None = None
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    generated: tuple[str, ...] = ()
    url: str | None = None
    volumes: tuple[VolumeSettings, ...] = ()
    healthcheck: HealthcheckSettings | None = None
    security: SecuritySettings = SecuritySettings()
    backup: BackupSettings | None = None


def check_container(settings: ContainerSettings, secrets: Collection[str], refuse: ErrorFactory) -> None:
    """Check this part of a service.toml; `secrets` are the names of the service's other secrets.

    Raises:
        ConfigError: anything in it is wrong.
    """
    if settings.image is not None and not _PINNED_IMAGE.fullmatch(settings.image):
        raise refuse(
            ("image",),
            f"`image` is {settings.image!r:.120}, which is not pinned",
            "Write it as REPOSITORY@sha256:DIGEST; `docker buildx imagetools inspect IMAGE` shows the digest.",
        )
    _check_commands(settings, refuse)
    _check_volumes(settings.volumes, refuse)
    _check_security(settings.security, refuse)
    if both := sorted({*settings.generated} & {*secrets}):
        raise refuse(("generated",), f"`{both[0]}` is in `secrets`, too", "Leave it in one of the two.")
    if settings.url is not None:
        _check_url(settings.url, {*URL_PLACEHOLDERS, *settings.generated, *secrets}, refuse)


def url_fields(url: str) -> list[str]:
    """Return the names in braces in a `url`, in their order.

    Raises:
        ValueError: a brace has no counterpart.
    """
    return [name for _, name, _, _ in Formatter().parse(url) if name is not None]


def _check_commands(settings: ContainerSettings, refuse: ErrorFactory) -> None:
    backup = settings.backup or BackupSettings()
    commands: Sequence[tuple[tuple[str, ...], tuple[str, ...]]] = (
        (("entrypoint",), settings.entrypoint),
        (("command",), settings.command),
        (("release",), settings.release),
        (("healthcheck", "command"), settings.healthcheck.command if settings.healthcheck else ("-",)),
        (("backup", "dump"), backup.dump),
        (("backup", "restore"), backup.restore),
        (("backup", "check"), backup.check),
    )
    for keys, words in commands:
        if (words and not words[0]) or (keys[0] == "healthcheck" and not words):
            raise refuse(keys, f"`{keys[-1]}` names no program", 'Write the program and its words: ["/app/run", "-v"].')
    if bool(backup.dump) != bool(backup.restore):
        missing = "restore" if backup.dump else "dump"
        raise refuse(("backup",), f"[backup] has no `{missing}`", "Write `dump` and `restore`, or neither.")
    if backup.check and not backup.dump:
        raise refuse(("backup", "check"), "`check` has no `dump` to check", "Write `dump` and `restore`, too.")
    if settings.backup and not settings.volumes:
        raise refuse(("backup",), "[backup] needs data to save", "Add [[volumes]], or remove [backup].")


def _check_volumes(volumes: Sequence[VolumeSettings], refuse: ErrorFactory) -> None:
    for number, volume in enumerate(volumes):
        earlier = volumes[:number]
        if not DNS_LABEL.fullmatch(volume.name):
            raise refuse(
                ("volumes", str(number), "name"),
                f"the volume's `name` is {volume.name!r:.80}",
                "Use lower-case letters, digits and dashes: `data`.",
            )
        if not _VOLUME_PATH.fullmatch(volume.path) or _is_below(volume.path, _RESERVED_PATHS):
            raise refuse(
                ("volumes", str(number), "path"),
                f"the volume `{volume.name}` has the `path` {volume.path!r:.80}",
                "Write the folder in the container that holds the data, such as /var/lib/postgresql; not one of "
                f"{', '.join(_RESERVED_PATHS)}.",
            )
        if not MEMORY_SIZE.fullmatch(volume.size):
            raise refuse(
                ("volumes", str(number), "size"),
                f"the volume `{volume.name}` has the `size` {volume.size!r:.80}",
                "Write a whole number and k, m or g: `10g`.",
            )
        if any(volume.name == other.name for other in earlier):
            raise refuse(
                ("volumes", str(number), "name"), f"two volumes have the name {volume.name!r}", "Give one another name."
            )
        for other in earlier:
            if _is_below(volume.path, [other.path]) or _is_below(other.path, [volume.path]):
                raise refuse(
                    ("volumes", str(number), "path"),
                    f"the volumes `{other.name}` and `{volume.name}` are at the same place, or one in the other",
                    "Give each a folder of its own.",
                )


def _check_security(security: SecuritySettings, refuse: ErrorFactory) -> None:
    for capability in security.capabilities:
        if capability not in CAPABILITIES:
            raise refuse(
                ("security", "capabilities"),
                f"`capabilities` names {capability!r:.80}",
                f"A service may have: {', '.join(sorted(CAPABILITIES))}.",
            )
    if security.user is not None and not _USER.fullmatch(security.user):
        raise refuse(("security", "user"), f"`user` is {security.user!r:.80}", "Write USER or USER:GROUP: `70:70`.")


def _check_url(url: str, known: Collection[str], refuse: ErrorFactory) -> None:
    remedy = 'Write it like "postgres://app:{PASSWORD}@{host}:{port}/app"; in braces may stand: ' + ", ".join(
        sorted(known)
    )
    try:
        fields = url_fields(url)
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise refuse(("url",), f"`url` cannot be read: {error}", remedy) from error
    if unknown := [name for name in fields if name not in known]:
        raise refuse(("url",), f"`url` names {unknown[0]!r:.80}, which is not known here", remedy)
    if not scheme or "host" not in fields:
        raise refuse(("url",), f"`url` is {url!r:.80}, which has no {'{host}' if scheme else 'scheme'}", remedy)


def _is_below(path: str, folders: Collection[str]) -> bool:
    """Whether a path is one of these folders, or in one."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)
