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

from slipway.model.errors import ConfigError
from slipway.model.files import note_unwritten, write_atomically
from slipway.model.masking import keep_secret
from slipway.model.stack import how_to_deploy

VARIABLE, FILE_VARIABLE = VARIABLES = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")
FROM_STATE = {"PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true"}
"""Has Pulumi take the salt from the state where the stack's file has none."""
IMAGE = "docker-build:index:Image"
_SALT = re.compile(r"^encryptionsalt:.*\n?", re.MULTILINE)
_SECRET = re.compile(r"\bsecure[\"']?\s*:")
_CIPHER = re.compile(r"\bv1:[A-Za-z0-9+/]+=*:[A-Za-z0-9+/]+")
_COMMENT = re.compile(r"(?:^|\s)#\s*(.*)")


def file_of(root: Path) -> Path:
    """Return the file that holds the passphrase where the environment names no other."""
    return root / ".slipway" / "passphrase"


def known(root: Path) -> bool:
    """Whether there is a passphrase, of the environment or the workspace's own."""
    return any(name in os.environ for name in VARIABLES) or file_of(root).is_file()


def variables(root: Path) -> dict[str, str]:
    """Return what Pulumi needs to find the passphrase that there is, if there is one."""
    if any(name in os.environ for name in VARIABLES):
        keep_secret(os.environ.get(VARIABLE))
        _keep(Path(os.environ.get(FILE_VARIABLE) or os.devnull))
        return dict(FROM_STATE)
    path = file_of(root)
    _keep(path)
    return {**FROM_STATE, FILE_VARIABLE: str(path)} if path.is_file() else dict(FROM_STATE)


def make(root: Path, stack: str | None, states: Path | None) -> None:
    """Make a passphrase where there is none: for this user's eyes only.

    Args:
        root: the workspace.
        stack: the stack that it is for, if it is for one.
        states: the folder that holds a JSON file for each stack, where the state is kept in a folder.

    Raises:
        ConfigError: the stack holds secrets of another passphrase, which is not here.
    """
    if known(root):
        return
    file = root / "infra" / f"Pulumi.{stack}.yaml"
    if stack and holds_secrets(_read(file)):
        anew = (
            "If it is lost for good, take the `secure:` values and `encryptionsalt` out of that file and set them anew."
        )
        raise missing(root, f"the secrets in {file}", lost=anew)
    for state in sorted(states.glob("*.json")) if states else ():
        if state.stem != stack and _is_being_written(state):
            continue
        if not forget_lost(state) and state.stem == stack:
            raise missing(root, f"the secrets of `{stack}` in its state, {state},", lost=_lost(stack, state))
    write_atomically(file_of(root), secrets.token_urlsafe(32), mode=0o600)
    _keep(file_of(root))


def missing(root: Path, what: str, lost: str = "") -> ConfigError:
    """Return the error for secrets whose passphrase is not here, with how it is had."""
    in_ci = f"In CI, set {VARIABLE} from its secrets." if os.environ.get("CI") else ""
    return ConfigError(
        f"{what} are encrypted with a passphrase that is not here",
        remedy=" ".join(
            part
            for part in (
                f"Whoever set them has it, in .slipway/passphrase: get it from them by a safe way and put it into "
                f"{file_of(root)} (mode 0600), or name it by {VARIABLE} or {FILE_VARIABLE}.",
                in_ci,
                lost,
            )
            if part
        ),
    )


def _lost(stack: str, state: Path) -> str:
    ours = f"--filter label=slipway.workspace={state.parent.name} --filter label=slipway.stack={stack}"
    return (
        f"If it is lost for good: `docker rm -f $(docker ps -aq {ours})` and `rm {state}`, set the secrets of "
        f"infra/Pulumi.{stack}.yaml anew, and `{how_to_deploy(stack)}`."
    )


def forget_lost(state: Path) -> bool:
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
        if resource.get("type") == IMAGE:
            for part in ("inputs", "outputs"):
                (resource.get(part) or {}).pop("secrets", None)
    if '"ciphertext"' in json.dumps(latest):
        return False
    del latest["secrets_providers"]
    write_atomically(state, json.dumps(document), mode=0o600)
    return True


def _is_being_written(state: Path) -> bool:
    """Whether somebody holds, or has left, the lock of a stack in a folder that others may share."""
    return any((state.parents[2] / "locks" / "organization" / state.parent.name / state.stem).glob("*.json"))


def holds_secrets(text: str) -> bool:
    """Whether a stack's file holds a value that is encrypted."""
    plain = "\n".join(line.partition(" #")[0] for line in text.splitlines())
    return bool(_SECRET.search(plain) or _CIPHER.search(_SALT.sub("", text)))


def without_salt(text: str) -> str:
    """Return a stack's file without the salt, where it holds no secret."""
    return text if holds_secrets(text) else _SALT.sub("", text)


@contextmanager
def salt_kept_out(file: Path) -> Iterator[None]:
    """Have Pulumi find a stack's file without the salt, and leave the file as it was before Pulumi wrote it anew.

    What else was written meanwhile, by Pulumi or by somebody, stays; so does a file that cannot be read, or is gone.
    """
    found = _text(file)
    before = without_salt(found or "")
    if found is not None and before != found:
        _rewrite(file, before)
    try:
        yield
    finally:
        after = _text(file)
        if after is not None and after != before and not holds_secrets(after):
            wanted = before if found is not None and _says_the_same(after, before) else without_salt(after)
            if wanted != after:
                _rewrite(file, wanted)


def _text(file: Path) -> str | None:
    """Return what a file holds, its line ends included; None where it is not there or cannot be read."""
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            return opened.read()
    except (OSError, ValueError):
        return None


def _rewrite(file: Path, text: str) -> None:
    """Write a user's file anew, where a link leads, with the mode it has; that it fails is told, and fails nothing."""
    try:
        there = file.resolve()
        write_atomically(there, text, mode=stat.S_IMODE(there.stat().st_mode))
    except OSError as error:
        note_unwritten(error)


def _says_the_same(after: str, before: str) -> bool:
    """Whether Pulumi alone has written a file anew: nothing else is in it, and no other comment."""
    return _comments(after) <= _comments(before) and _meaning(after) == _meaning(before)


def _comments(text: str) -> set[str]:
    return {found[1].rstrip() for line in text.splitlines() if (found := _COMMENT.search(line))}


def _meaning(text: str) -> Any:
    """Return what a stack's file says: Pulumi writes `false` as `"false"`, and lines in its own way."""
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        return text
    if not isinstance(document, dict):
        return text
    config = document.get("config") or {}
    said = {key: str(value).lower() for key, value in config.items()} if isinstance(config, dict) else config
    return {**{key: value for key, value in document.items() if key != "encryptionsalt"}, "config": said}


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""  # who reads the file for its settings says what is wrong with it


def _keep(file: Path) -> None:
    if file.is_file():
        keep_secret(_read(file).strip())
