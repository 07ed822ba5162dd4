"""The template's repository: finding the version that an update goes to, and getting a version's files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.run.git import run_git
from slipway._internal.scaffold.template_record import without_credentials

CLONE_SECONDS = 600.0
SECONDS = 60.0
SHORT = 12
"""Digits of a commit that are shown."""
ABBREVIATIONS = {
    "gh": "https://github.com/{}.git",
    "gl": "https://gitlab.com/{}.git",
    "bb": "https://bitbucket.org/{}",
}
"""What cookiecutter makes of `gh:owner/name`."""
VERSION_TAG = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://|[\w.-]+@[\w.-]+:", re.IGNORECASE)
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class TemplateRef:
    """What `--to` asks for: a template, a version of it (a branch, tag or commit), or both; None is the usual one."""

    address: str | None = None
    version: str | None = None


def parse_template_ref(text: str | None) -> TemplateRef:
    """Return what `--to` asks for: `1.4.0`, `../slipway`, `https://host/slipway.git`, `https://host/slipway.git#1.4.0`.

    Raises:
        ConfigError: it is a path to nothing that could be a template, or has a password in it.
    """
    if not text:
        return TemplateRef()
    address, _, version = text.partition("#")
    short, _, name = address.partition(":")
    if short in ABBREVIATIONS and not name.startswith("//"):
        address = ABBREVIATIONS[short].format(name)
    if _URL.match(address):
        if without_credentials(address) != address:
            raise ConfigError(
                f"the address of {without_credentials(address)} holds a login or a query",
                remedy="Leave it out: git asks its credential helper or the SSH agent (see `git help credentials`).",
            )
        return TemplateRef(address, version or None)
    folder = Path(address).expanduser()
    if address.startswith(("/", "./", "../", "~")) or address in (".", "..") or _is_template(folder):
        return TemplateRef(str(folder.resolve()), version or None)
    return TemplateRef(None, text)


def _is_template(folder: Path) -> bool:
    """Whether a folder holds a template, or a bare repository, which holds one."""
    return (folder / "cookiecutter.json").is_file() or all((folder / name).exists() for name in ("HEAD", "objects"))


class TemplateRepository:
    """A clone of a template's repository, without files.

    Args:
        address: the URL or path that it is cloned from.
        directory: the template's folder in it; None for the top.
        folder: where it is cloned to.
    """

    def __init__(self, address: str, directory: str | None, folder: Path) -> None:
        self.address = address
        self.directory = directory
        self._folder = folder

    @classmethod
    def clone(cls, address: str, directory: str | None, folder: Path, tell: Tell) -> TemplateRepository:
        """Return a clone of a template.

        Raises:
            ConfigError: there is no repository, or it cannot be reached.
        """
        tell(f"Fetching the template from {address}.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        result = run_git(
            folder.parent,
            *("-c", "core.hooksPath=/dev/null", "-c", "protocol.file.allow=always"),
            *("clone", "--quiet", "--bare", "--template=", "--", address, folder),
            timeout=CLONE_SECONDS,
        )
        if result.code:
            raise ConfigError(
                f"the template at {address} cannot be fetched",
                detail=result.errors,
                remedy="`--to` takes a git repository: a URL that `git clone` can read without a question (for a "
                "private one set up a credential helper or SSH agent), or a path to a clone.",
            )
        return cls(address, directory, folder)

    def below(self, directory: str | None) -> TemplateRepository:
        """Return the template that is in another folder of the same clone."""
        return TemplateRepository(self.address, directory, self._folder)

    def commit_of(self, version: str) -> str | None:
        """Return the commit of a tag (with or without its `v`), of a branch, or of a commit's digits; None for none."""
        names = [f"refs/tags/{version}", f"refs/tags/v{version}", f"refs/heads/{version}"]
        if _COMMIT.fullmatch(version):
            names.append(version)
        found = (
            self._ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}") for name in names
        )
        return next((commit for commit in found if commit), None)

    def is_branch(self, name: str) -> bool:
        """Whether there is a branch of this name."""
        return self._verify(f"refs/heads/{name}") is not None

    def get_commit(self, commit: str) -> bool:
        """Whether a commit is in the clone, or can be had from the template: no branch may lead to it any more."""
        if self._has(commit):
            return True
        self._ask("fetch", "--quiet", "origin", commit, timeout=CLONE_SECONDS)
        return self._has(commit)

    def newest_version(self) -> str | None:
        """Return the tag of the newest version, by its numbers; None where no tag is a version."""
        tags = {tag: VERSION_TAG.fullmatch(tag) for tag in (self._ask("tag", "--list") or "").splitlines()}
        versions = {tag: tuple(map(int, found.groups())) for tag, found in tags.items() if found}
        return max(versions, key=versions.__getitem__) if versions else None

    def default_branch(self) -> str:
        """Return the commit of the default branch.

        Raises:
            ConfigError: it has none.
        """
        if found := self._verify("HEAD"):
            return found
        raise ConfigError(f"the template at {self.address} has no commit on its default branch", remedy="See `--to`.")

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether a commit is another one or comes before it."""
        return self._ask("merge-base", "--is-ancestor", older, newer) is not None

    def name_of(self, commit: str) -> str:
        """Return what a user knows a commit by: its tag, else its first digits."""
        return self._ask("describe", "--tags", "--exact-match", commit) or commit[:SHORT]

    def commits_between(self, older: str, newer: str) -> int:
        """Return how many commits the newer one has that the older one has not."""
        return int(self._ask("rev-list", "--count", f"{older}..{newer}") or 0)

    def file(self, commit: str, path: str) -> str:
        """Return the text of one of the template's files; nothing where it has none."""
        return self._run("cat-file", "blob", f"{commit}:{self._below(path)}") or ""

    def commits_by_tree(self, path: str) -> list[list[str]]:
        """Return all commits that have a folder, the newest first, those together in which it holds the same."""
        commits = (self._ask("log", "--all", "--topo-order", "--format=%H") or "").split()
        asked = "".join(f"{commit}:{self._below(path)}\n" for commit in commits)
        said = self._run("cat-file", "--batch-check=%(objectname)", stdin=asked) or ""
        found: dict[str, list[str]] = {}
        for commit, tree in zip(commits, said.splitlines(), strict=False):
            if _COMMIT.fullmatch(tree):
                found.setdefault(tree, []).append(commit)
        return [*found.values()]

    def files(self, commit: str, path: str) -> dict[str, str]:
        """Return the objects that a folder of a commit holds, by path in it."""
        lines = (self._run("ls-tree", "-r", "-z", f"{commit}:{self._below(path)}") or "").split("\0")[:-1]
        return {line.partition("\t")[2]: line.partition("\t")[0].split()[2] for line in lines}

    def check_out(self, commit: str, folder: Path) -> Path:
        """Write a version's files into a new folder, as a clone of its own, and return the template's folder in it."""
        words = ("worktree", "add", "--quiet", "--force", "--detach", str(folder), commit)
        if self._run("-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false", *words) is None:
            raise SlipwayError(f"the template's commit {commit[:SHORT]} cannot be checked out", remedy="Try again.")
        return folder / self.directory if self.directory else folder

    def _below(self, path: str) -> str:
        return f"{self.directory}/{path}" if self.directory else path

    def _verify(self, name: str) -> str | None:
        return self._ask("rev-parse", "--verify", "--quiet", "--end-of-options", name)

    def _has(self, commit: str) -> bool:
        return self._ask("cat-file", "-e", f"{commit}^{{commit}}") is not None

    def _ask(self, *words: str, timeout: float = SECONDS) -> str | None:
        said = self._run(*words, timeout=timeout)
        return None if said is None else said.strip()

    def _run(self, *words: str, stdin: str | None = None, timeout: float = SECONDS) -> str | None:
        """Return what git says of the clone; None where it says no."""
        result = run_git(self._folder, *words, env={"GIT_DIR": str(self._folder)}, stdin=stdin, timeout=timeout)
        return result.output if result.code == 0 else None
