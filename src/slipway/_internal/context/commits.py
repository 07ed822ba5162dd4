"""The commit that images are built from: a warning where it is unknown, a refusal where a protected stack needs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from slipway._internal.context.reporter import Reporter
from slipway._internal.model import lock
from slipway._internal.model.errors import EvidenceError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace
from slipway._internal.run import git


def warn_of_unknown_commit(workspace: Workspace, reporter: Reporter) -> None:
    """Warn where there is a repository, but the commit for a lock or a release cannot be determined."""
    if git.may_have_commit_problem(workspace.root) and (problem := git.find_commit_problem(workspace.root)):
        reporter.say(f"Without a commit: {problem.message}. {problem.remedy}")


def commit_to_sign(workspace: Workspace, stack: Stack, commit: str | None, reporter: Reporter) -> str | None:
    """Return the commit that signatures and the lock name; None, with a word, where files differ from it.

    Args:
        workspace: the workspace.
        stack: whose lock is to name it; a protected one takes nothing without.
        commit: the one that all files of the images are of.
        reporter: told where an unprotected stack goes on without one.

    Raises:
        EvidenceError: there is none, or the stack is protected and files differ from it.
    """
    if commit:
        return commit
    if git.head_commit(workspace.root) is None:
        raise EvidenceError(
            f"{workspace.root} is in no commit, so nobody can tell what was reviewed; nothing is signed without one",
            remedy="git init && git add . && git commit",
        )
    if stack.protected:
        raise EvidenceError(
            f"files differ from the commit, or git ignores some that are in an image, and `{stack.name}` is protected",
            remedy="`git status` shows them. Commit them, and ship again.",
        )
    reporter.say(
        "Files differ from the commit, so the images are signed without one; protected stacks will refuse them."
    )
    return None


def refuse_unreviewed(root: Path, path: Path, entries: Mapping[str, lock.LockEntry]) -> None:
    """Refuse images for a protected stack without a commit, or with one that this repository never had.

    A part of the history (`git clone --depth 1`), or none at all, cannot tell; the signature still says which commit.

    Raises:
        EvidenceError: there are some.
    """
    lock.refuse_without_commit(path, entries)
    commits = {str(entry.commit) for entry in entries.values()}
    unknown = {commit for commit in commits if git.has_commit(root, commit) is False}
    if wrong := [f"{name}: {entry.commit}" for name, entry in entries.items() if entry.commit in unknown]:
        raise EvidenceError(
            f"{path} names commits that this repository does not have",
            detail="\n".join(wrong),
            remedy="Run `git fetch` if they are newer than this clone. Otherwise restore the lock from git.",
        )
