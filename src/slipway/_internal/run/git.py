"""The client for git: the commit that is checked out, uncommitted changes, and the user's name."""

from __future__ import annotations

import getpass
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from slipway._internal.model.errors import EvidenceError, SlipwayError
from slipway._internal.run.process import ProcessResult, run

GIT_SECONDS = 20
KEPT_VARIABLES = ("GIT_CONFIG_", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_EXEC_PATH")
"""How the variables begin that say how this user's git works. Any other (GIT_DIR, GIT_INDEX_FILE, …) speaks of the
repository that a hook or a git command around us is about, and would be taken for the workspace's."""
REACH_VARIABLES = ("GIT_SSH", "GIT_ASKPASS", "GIT_SSL_", "GIT_HTTP_", "GIT_PROXY_", "GIT_ALLOW_PROTOCOL")
"""How the variables begin that say how this user's git reaches other machines."""
DROPPED_VARIABLES = ("GIT_CONFIG_PARAMETERS",)
_COMMIT = re.compile(r"^[0-9a-f]{40}(?:[0-9a-f]{24})?$", re.MULTILINE)


def head_commit(root: Path) -> str | None:
    """Return the commit that is checked out; None without git, outside a repository, or before its first commit.

    A folder that git ignores is in no commit, whatever repository lies around it.
    """
    if _output_or_empty(root, "check-ignore", "."):
        return None
    match = _COMMIT.search(_output_or_empty(root, "rev-parse", "--verify", "HEAD"))
    return match[0] if match else None


def require_known_commit(root: Path) -> None:
    """Refuse to go on where there is a repository but its commit cannot be determined.

    Raises:
        EvidenceError: with git's reason and the remedy.
    """
    if problem := find_commit_problem(root):
        raise EvidenceError(f"the commit of {root} cannot be determined: {problem.message}", remedy=problem.remedy)


def find_commit_problem(root: Path) -> SlipwayError | None:
    """Return why the commit cannot be determined although there is a repository; None where it is, or there is none.

    A repository without any commit has none, which is known.
    """
    git_folder = find_repository(root)
    if git_folder is None:
        return None
    try:
        result = run_git(root, "rev-parse", "--git-dir")
    except SlipwayError as error:
        missing = shutil.which("git") is None
        remedy = "Install git." if missing else "Run `git status` there, and fix what it reports."
        return SlipwayError("git is not installed" if missing else error.message, remedy=remedy)
    if result.code == 0:
        return None
    if "safe.directory" in result.errors:
        return SlipwayError(
            f"{git_folder.parent} belongs to another user, so git does not read it",
            remedy=f"If you trust it: git config --global --add safe.directory '{git_folder.parent}'",
        )
    reason = next(iter(result.errors.splitlines()), "git does not say why").removeprefix("fatal: ")
    return SlipwayError(
        reason, remedy=f"Run `git status` in {root} and fix what it reports; {git_folder} may be damaged."
    )


def may_have_commit_problem(root: Path) -> bool:
    """Whether `find_commit_problem` is worth asking, without starting git: not for one that looks well."""
    git_folder = find_repository(root)
    if git_folder is None:
        return False
    owners = {path.stat().st_uid for path in (git_folder, git_folder.parent)}
    return owners != {os.geteuid()} or not _looks_intact(git_folder) or shutil.which("git") is None


def find_repository(root: Path) -> Path | None:
    """Return the nearest `.git` at or above a folder, where git would look for one, too."""
    ceilings = {Path(path) for path in os.environ.get("GIT_CEILING_DIRECTORIES", "").split(os.pathsep) if path}
    for folder in (root, *root.parents):
        if folder in ceilings and folder != root:
            return None
        if os.path.lexists(folder / ".git"):
            return folder / ".git"
    return None


def _looks_intact(git_folder: Path) -> bool:
    try:
        if git_folder.is_dir():
            return bool((git_folder / "HEAD").read_bytes())
        link = git_folder.read_text(encoding="utf-8").removeprefix("gitdir: ").rstrip("\n")
        return (git_folder.parent / link / "HEAD").is_file()
    except (OSError, ValueError):
        return False


def has_commit(root: Path, commit_id: str) -> bool | None:
    """Whether the repository has a commit; None where git cannot say: there is none, or only a part of its history."""
    if head_commit(root) is None or _output_or_empty(root, "rev-parse", "--is-shallow-repository") != "false":
        return None
    return _output_or_none(root, "cat-file", "-e", f"{commit_id}^{{commit}}") is not None


def is_dirty(root: Path, apart: Sequence[str] = ()) -> bool:
    """Whether files differ from that commit or are not in it, apart from some folders; ignored ones do not count.

    Where there is a commit, and git cannot say what differs from it, something may.
    """
    others = [f":(exclude){folder}" for folder in apart]
    status = _output_or_none(root, "status", "--porcelain", "--untracked-files=normal", "--", ".", *others)
    return head_commit(root) is not None if status is None else bool(status)


def list_ignored(root: Path, folders: Sequence[str]) -> set[str]:
    """Return the files of some folders that are in no commit because git is told to ignore them, from `root`."""
    return set(
        _output_or_empty(
            root, "-c", "core.quotePath=off", "ls-files", "--others", "--ignored", "--exclude-standard", "--", *folders
        ).splitlines()
    )


def current_user(root: Path) -> str:
    """Return who works here: the name that git knows, else the system's name of this process's user."""
    return (_output_or_empty(root, "config", "user.name").splitlines() or [_system_user()])[-1]


def count_authors(root: Path, days: int) -> int:
    """Return how many people have committed to this folder in the last so many days; 0 where git does not say."""
    return len(set(_output_or_empty(root, "log", f"--since={days}.days", "--format=%aE", "--", ".").splitlines()))


def _output_or_empty(root: Path, *words: str) -> str:
    """Return what git says; nothing where there is no git, or it says no."""
    return _output_or_none(root, *words) or ""


def _output_or_none(root: Path, *words: str) -> str | None:
    """Return what git says; None where there is no git, or it says no."""
    try:
        result = run_git(root, *words)
    except SlipwayError:
        return None
    return result.output.strip() if result.code == 0 else None


def run_git(
    folder: Path,
    *words: str | Path,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = GIT_SECONDS,
) -> ProcessResult:
    """Run git in a folder, whatever this process's variables say of a repository; in English, and without a question.

    Args:
        folder: where it runs.
        words: its arguments; no secret here.
        env: variables for it, such as GIT_DIR and GIT_INDEX_FILE.
        stdin: text for standard input.
        timeout: seconds.

    Raises:
        SlipwayError: git is not there, or did not end in time.
    """
    kept = (*KEPT_VARIABLES, *REACH_VARIABLES)
    foreign = [name for name in os.environ if name.startswith("GIT_") and not name.startswith(kept)]
    variables: dict[str, str | None] = dict.fromkeys([*foreign, *DROPPED_VARIABLES])
    variables.update({"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **(env or {})})
    return run(["git", "-C", folder, *words], env=variables, stdin=stdin, timeout=timeout, apart=True)


def _system_user() -> str:
    try:
        return os.environ.get("USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        return str(os.getuid())
