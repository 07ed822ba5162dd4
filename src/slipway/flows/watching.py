"""Watches all that decides what a stack runs, and tells of changes: sources, settings, bases."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slipway.model.errors import SlipwayError
from slipway.model.workspace import Workspace

STEP, LONGEST, ALIVE = 30, 400, 300
"""Milliseconds: how long it must be quiet for a change to be over, how long one may go on, and between two looks at
whether watching is to end."""
GIT_SECONDS = 60.0


@dataclass(frozen=True)
class Change:
    """Files that were saved, and when that was noticed (seconds of `time.monotonic`); `all` asks for a deploy."""

    at: float
    paths: frozenset[Path] = frozenset()
    all: bool = False

    def __add__(self, later: Change) -> Change:
        return Change(min(self.at, later.at), self.paths | later.paths, self.all or later.all)


class Watch:
    """Puts what changes into `changes`, until `stop`. An error of the system's stands there in place of a change."""

    def __init__(self, workspace: Workspace) -> None:
        self.changes: queue.SimpleQueue[Change | SlipwayError] = queue.SimpleQueue()
        self._root = workspace.root
        self._stop = threading.Event()
        self._again = threading.Event()

    def start(self) -> None:
        """Begin to watch, in threads of its own."""
        for recursive in (True, False):
            threading.Thread(target=self._watch, args=(recursive,), daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()

    def stop(self) -> None:
        """End watching."""
        self._stop.set()

    def next(self) -> Change:
        """Wait for a change, and return it with all others that have come meanwhile.

        Raises:
            SlipwayError: the system cannot watch any longer.
        """
        found = self._taken(self.changes.get())
        wait_for_git(self._root)
        while not self.changes.empty():
            found += self._taken(self.changes.get())
        return found

    def _listen(self) -> None:
        """Take Enter for the wish to deploy, where there is a terminal and this is what it listens to."""
        with suppress(OSError, ValueError):  # no terminal, or it has gone
            keys = sys.stdin.fileno()
            while os.tcgetpgrp(keys) == os.getpgrp() and os.read(keys, 1024):
                self.changes.put(Change(time.monotonic(), all=True))

    def _taken(self, found: Change | SlipwayError) -> Change:
        if isinstance(found, SlipwayError):
            raise found
        return found

    def _watch(self, recursive: bool) -> None:
        from watchfiles import watch

        blind = False
        while not self._stop.is_set():
            folders = watched(self._root, recursive)
            ended = _Either(self._stop, self._again) if recursive else self._stop
            try:
                for changes in watch(
                    *folders,
                    watch_filter=None,  # what matters is for the content digest to say
                    step=STEP,
                    debounce=LONGEST,
                    stop_event=ended,
                    recursive=recursive,
                    raise_interrupt=False,
                    ignore_permission_denied=True,
                    rust_timeout=ALIVE,
                    yield_on_timeout=True,
                ):
                    missed = [self._root / TREES[0]] if blind else []  # whatever changed while nobody watched
                    blind = False
                    self._tell([*missed, *(Path(path) for _, path in changes)], again=not missed)
            except (OSError, RuntimeError) as error:
                self.changes.put(
                    SlipwayError(
                        f"the files cannot be watched: {error}",
                        remedy="On Linux, more folders may be watched by: sysctl fs.inotify.max_user_watches=524288",
                    )
                )
                return
            if recursive and self._again.is_set():
                self._again.clear()
                blind = True

    def _tell(self, paths: Iterable[Path], *, again: bool) -> None:
        found = frozenset(path for path in paths if self._counts(path))
        if again and found & {self._root / name for name in TREES}:
            self._again.set()  # the folder itself went or came: the system watches the one that was there
        if found:
            self.changes.put(Change(time.monotonic(), found))

    def _counts(self, path: Path) -> bool:
        """Whether a path is one of those that decide anything: of the folders above them, few are."""
        parts = path.relative_to(self._root).parts if path.is_relative_to(self._root) else ()
        return bool(parts) and (
            parts[0] in TREES
            or parts == ("workspace.toml",)
            or (parts[0] == "bases" and parts[-1] == "bases.lock.json")
            or (parts[0] == "infra" and parts[-1].endswith(".yaml"))
            or (parts[0] == "deploy" and parts[-1].endswith(".lock.json"))
        )


TREES = ("services", "libs")


class _Either:
    """Two events as one, as far as watchfiles asks."""

    def __init__(self, *events: threading.Event) -> None:
        self._events = events

    def is_set(self) -> bool:
        return any(each.is_set() for each in self._events)


def watched(root: Path, recursive: bool) -> list[Path]:
    """Return the folders that are watched with all that is in them, or alone."""
    names = TREES if recursive else (".", "bases", "infra", "deploy")
    found = [root / name for name in names if (root / name).is_dir()]
    return found or [root / "infra"]


def wait_for_git(root: Path) -> None:
    """Wait while git writes the files of another commit: what is half there is nobody's wish."""
    locks = [folder / ".git" / "index.lock" for folder in (root, *root.parents) if (folder / ".git").is_dir()][:1]
    end = time.monotonic() + GIT_SECONDS
    while any(lock.exists() for lock in locks) and time.monotonic() < end:
        time.sleep(STEP / 1000)
