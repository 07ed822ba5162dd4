"""The passphrase of a workspace's secrets, and the salt that Pulumi makes for it in each stack.

Pulumi writes the salt (`encryptionsalt`) into the stack's file, which is in git, and into the state. A clone has the
file but another passphrase, for which that salt is wrong. So the salt stays in the file only where that holds a secret,
which nobody can read without the passphrase anyway; else Pulumi takes it from the state.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.files import note_write_failure, write_atomically
from slipway._internal.model.masking import register_secret
from slipway._internal.model.stack import how_to_deploy

VARIABLE, FILE_VARIABLE = VARIABLES = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")
SALT_FROM_STATE = {"PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true"}
"""Has Pulumi take the salt from the state where the stack's file has none."""
IMAGE_TYPE = "docker-build:index:Image"
_SALT_PATTERN = re.compile(r"^encryptionsalt:.*\n?", re.MULTILINE)
_SECRET_PATTERN = re.compile(r"\bsecure[\"']?\s*:")
_CIPHERTEXT_PATTERN = re.compile(r"\bv1:[A-Za-z0-9+/]+=*:[A-Za-z0-9+/]+")
_COMMENT_PATTERN = re.compile(r"(?:^|\s)#\s*(.*)")


def passphrase_file(root: Path) -> Path:
    """Return the file that holds the passphrase where the environment names no other."""
    return root / ".slipway" / "passphrase"


def has_passphrase(root: Path) -> bool:
    """Whether there is a passphrase, of the environment or the workspace's own."""
    return any(name in os.environ for name in VARIABLES) or passphrase_file(root).is_file()


def passphrase_environment(root: Path) -> dict[str, str]:
    """Return what Pulumi needs to find the passphrase that there is, if there is one."""
    if any(name in os.environ for name in VARIABLES):
        register_secret(os.environ.get(VARIABLE))
        _mask_passphrase(Path(os.environ.get(FILE_VARIABLE) or os.devnull))
        return dict(SALT_FROM_STATE)
    path = passphrase_file(root)
    _mask_passphrase(path)
    return {**SALT_FROM_STATE, FILE_VARIABLE: str(path)} if path.is_file() else dict(SALT_FROM_STATE)


def ensure_passphrase(root: Path, stack: str | None, states: Path | None) -> None:
    """Make a passphrase where there is none: for this user's eyes only.

    Args:
        root: the workspace.
        stack: the stack that it is for, if it is for one.
        states: the folder that holds a JSON file for each stack, where the state is kept in a folder.

    Raises:
        ConfigError: the stack holds secrets of another passphrase, which is not here.
    """
    if has_passphrase(root):
        return
    file = root / "infra" / f"Pulumi.{stack}.yaml"
    if stack and holds_secrets(_read_text(file)):
        lost_remedy = (
            "If it is lost for good, remove `encryptionsalt` and the `secure:` values from that file; set them again."
        )
        raise missing_passphrase_error(root, f"the secrets in {file}", lost=lost_remedy)
    for state in sorted(states.glob("*.json")) if states else ():
        if state.stem != stack and _is_locked(state):
            continue
        if not remove_lost_salt(state) and state.stem == stack:
            raise missing_passphrase_error(
                root, f"the secrets of `{stack}` in its state, {state},", lost=_lost_passphrase_remedy(stack, state)
            )
    write_atomically(passphrase_file(root), secrets.token_urlsafe(32), mode=0o600)
    _mask_passphrase(passphrase_file(root))


def missing_passphrase_error(root: Path, what: str, lost: str = "") -> ConfigError:
    """Return the error for secrets whose passphrase is not here, with how it is had."""
    in_ci = f"In CI, set {VARIABLE} from its secrets." if os.environ.get("CI") else ""
    return ConfigError(
        f"{what} are encrypted with a passphrase that is not on this machine",
        remedy=" ".join(
            part
            for part in (
                f"Whoever set them has it in .slipway/passphrase. Get it from them securely and put it into "
                f"{passphrase_file(root)} (mode 0600), or name it by {VARIABLE} or {FILE_VARIABLE}.",
                in_ci,
                lost,
            )
            if part
        ),
    )


def _lost_passphrase_remedy(stack: str, state: Path) -> str:
    label_filters = f"--filter label=slipway.workspace={state.parent.name} --filter label=slipway.stack={stack}"
    return (
        f"If it is lost for good: `docker rm -f $(docker ps -aq {label_filters})` and `rm {state}`, set the secrets of "
        f"infra/Pulumi.{stack}.yaml anew, and `{how_to_deploy(stack)}`."
    )


def remove_lost_salt(state: Path) -> bool:
    """Take a lost passphrase's salt out of a state, so that Pulumi makes one for the new; False: secrets need it.

    What a build was given of secrets is not needed: the resource of an image lives until the next deploy forgets it.
    """
    try:
        document = json.loads(state.read_text(encoding="utf-8"))
        latest = document["checkpoint"]["latest"]
        provider = latest["secrets_providers"]["type"]
        resources: list[dict[str, Any]] = latest.get("resources") or []
    except (OSError, ValueError, LookupError, TypeError):
        return True  # nothing of it is encrypted, or nobody can tell; Pulumi says what is wrong with it
    if provider != "passphrase":
        return True
    for resource in resources:
        if resource.get("type") == IMAGE_TYPE:
            for part in ("inputs", "outputs"):
                (resource.get(part) or {}).pop("secrets", None)
    if '"ciphertext"' in json.dumps(latest):
        return False
    del latest["secrets_providers"]
    write_atomically(state, json.dumps(document), mode=0o600)
    return True


def _is_locked(state: Path) -> bool:
    """Whether somebody holds, or has left, the lock of a stack in a folder that others may share."""
    return any((state.parents[2] / "locks" / "organization" / state.parent.name / state.stem).glob("*.json"))


def holds_secrets(text: str) -> bool:
    """Whether a stack's file holds a value that is encrypted."""
    plain = "\n".join(line.partition(" #")[0] for line in text.splitlines())
    return bool(_SECRET_PATTERN.search(plain) or _CIPHERTEXT_PATTERN.search(_SALT_PATTERN.sub("", text)))


def strip_salt(text: str) -> str:
    """Return a stack's file without the salt, where it holds no secret."""
    return text if holds_secrets(text) else _SALT_PATTERN.sub("", text)


@contextmanager
def hide_salt(file: Path) -> Iterator[None]:
    """Have Pulumi find a stack's file without the salt, and leave the file as it was before Pulumi wrote it anew.

    What else was written meanwhile, by Pulumi or by somebody, stays; so does a file that cannot be read, or is gone.
    """
    original = _read_exact_text(file)
    before = strip_salt(original or "")
    if original is not None and before != original:
        _rewrite_file(file, before)
    try:
        yield
    finally:
        after = _read_exact_text(file)
        if after is not None and after != before and not holds_secrets(after):
            restored = before if original is not None and _has_same_content(after, before) else strip_salt(after)
            if restored != after:
                _rewrite_file(file, restored)


def _read_exact_text(file: Path) -> str | None:
    """Return what a file holds, its line ends included; None where it is not there or cannot be read."""
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            return stream.read()
    except (OSError, ValueError):
        return None


def _rewrite_file(file: Path, text: str) -> None:
    """Write a user's file anew, where a link leads, with the mode it has; that it fails is told, and fails nothing."""
    try:
        target = file.resolve()
        write_atomically(target, text, mode=stat.S_IMODE(target.stat().st_mode))
    except OSError as error:
        note_write_failure(error)


def _has_same_content(after: str, before: str) -> bool:
    """Whether Pulumi alone has written a file anew: nothing else is in it, and no other comment."""
    return _find_comments(after) <= _find_comments(before) and _parse_meaning(after) == _parse_meaning(before)


def _find_comments(text: str) -> set[str]:
    return {match[1].rstrip() for line in text.splitlines() if (match := _COMMENT_PATTERN.search(line))}


def _parse_meaning(text: str) -> Any:
    """Return what a stack's file says: Pulumi writes `false` as `"false"`, and lines in its own way."""
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        return text
    if not isinstance(document, dict):
        return text
    config = document.get("config") or {}
    settings = {key: str(value).lower() for key, value in config.items()} if isinstance(config, dict) else config
    return {**{key: value for key, value in document.items() if key != "encryptionsalt"}, "config": settings}


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""  # who reads the file for its settings says what is wrong with it


def _mask_passphrase(file: Path) -> None:
    if file.is_file():
        register_secret(_read_text(file).strip())
