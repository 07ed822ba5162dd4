"""Run-time secrets: files that the platform mounts, one for each name in the service's `secrets`."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path("/run/secrets")


def read(name: str, folder: Path = FOLDER) -> str:
    """Return a secret's value.

    Raises:
        LookupError: it was not given to this service; the message says how it would be.
    """
    try:
        return (folder / name).read_text(encoding="utf-8")
    except OSError as error:
        raise LookupError(f'no secret {name}: add it to `secrets = ["{name}"]` in service.toml') from error


def names(folder: Path = FOLDER) -> list[str]:
    """Return the names of the secrets that this service has; never their values."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
