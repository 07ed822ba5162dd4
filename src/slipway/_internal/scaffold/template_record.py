"""`.cruft.json`: which template made a workspace, from which commit and answers, in the format of cruft.

Only Python's own library is used: the template writes the file, in whatever Python cookiecutter runs in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run.git import run_git

NAME = ".cruft.json"
NOT_ANSWERS = ("_template", "_output_dir", "_repo_dir", "_checkout")
"""What cookiecutter adds to the answers: where it read, wrote and cloned. Other people have other folders."""
_SSH = ("ssh", "git+ssh", "ssh+git")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def record_text(
    answers: Mapping[str, Any],
    *,
    template: str,
    commit: str | None,
    checkout: str | None,
    directory: str | None,
    skip: Sequence[str] = (),
    others: Mapping[str, Any] | None = None,
) -> str:
    """Return the text of `.cruft.json`.

    Args:
        answers: cookiecutter's, the private ones too.
        template: where the template is: a URL, or a path.
        commit: the template's commit; None where it is in no git repository.
        checkout: the branch or tag that was asked for; None for the default branch.
        directory: the template's folder in its repository; None for the top.
        skip: paths that no update touches; the record itself is always among them.
        others: further keys to keep.
    """
    address = without_credentials(template)
    kept = {name: answer for name, answer in answers.items() if name not in NOT_ANSWERS}
    record = {
        "template": address,
        "commit": commit,
        "checkout": checkout,
        "context": {"cookiecutter": {**kept, "_template": address}},
        "directory": directory,
        "skip": [NAME, *(path for path in skip if path != NAME)],  # cruft would merge the record itself
        **(others or {}),
    }
    return json.dumps(record, ensure_ascii=False, indent=2) + "\n"


def generated_record(answers: Mapping[str, Any], folder: Path) -> str:
    """Return the text of `.cruft.json` for a workspace that is being generated.

    Args:
        answers: cookiecutter's, with what it adds to them.
        folder: where this template lies: what the user named, or cookiecutter's clone of it.
    """
    typed = str(answers["_template"])
    commit, top, directory = _position(folder)
    local = str(Path(answers.get("_repo_dir", typed))).startswith(str(Path(typed)))
    if local:
        template = str(top or folder)
    else:
        template = (_git(folder, "config", "--get", "remote.origin.url") if commit else "") or typed
    checkout = None if local else answers.get("_checkout")  # cookiecutter takes a path as it is
    return record_text(answers, template=template, commit=commit, checkout=checkout, directory=directory or None)


def without_credentials(address: str) -> str:
    """Return an address without the user, password and query that may be somebody's login.

    Of an SSH address the user stays: it names the account of the service and is not a secret.
    """
    if "://" not in address:
        return address  # a path, or `git@host:path`, which takes no password
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    user = parts.netloc.rpartition("@")[0].partition(":")[0]
    if parts.scheme in _SSH and user:
        host = f"{user}@{host}"
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _position(folder: Path) -> tuple[str | None, Path | None, str]:
    """Return the commit of the repository that a template is in, its top folder, and the template's folder in it."""
    if not _git(folder, "ls-files", "cookiecutter.json"):
        return None, None, ""  # another repository may lie around a template that was unpacked there
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if not _COMMIT.fullmatch(commit):
        return None, None, ""
    prefix = _git(folder, "rev-parse", "--show-prefix").rstrip("/")
    return commit, Path(_git(folder, "rev-parse", "--show-toplevel")), prefix


def _git(folder: Path, *words: str) -> str:
    """Return what git says; nothing where there is no git, or it says no."""
    try:
        result = run_git(folder, *words)
    except SlipwayError:
        return ""
    return result.output.strip() if result.code == 0 else ""
