"""Watches everything that decides what a stack runs, and reports changes: sources, settings, bases."""

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

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Workspace

STEP_MS, DEBOUNCE_MS, POLL_MS = 30, 400, 300
"""Milliseconds: how long it must be quiet for a change to be over, how long one may go on, and between two looks at
whether watching is to end."""
GIT_LOCK_SECONDS = 60.0


@dataclass(frozen=True)
class Change:
    """Files that were saved, and when that was noticed, in seconds of `time.monotonic`.

    `deploy_requested` asks for a deploy.
    """

    noticed_at: float
    paths: frozenset[Path] = frozenset()
    deploy_requested: bool = False

    def __add__(self, later: Change) -> Change:
        return Change(
            min(self.noticed_at, later.noticed_at),
            self.paths | later.paths,
            self.deploy_requested or later.deploy_requested,
        )


class WorkspaceWatcher:
    """Puts what changes into `changes`, until `stop`. An error of the system's stands there in place of a change."""

    def __init__(self, workspace: Workspace) -> None:
        self.changes: queue.SimpleQueue[Change | SlipwayError] = queue.SimpleQueue()
        self._root = workspace.root
        self._stop_event = threading.Event()
        self._restart = threading.Event()

    def start(self) -> None:
        """Begin to watch, in threads of its own."""
        for recursive in (True, False):
            threading.Thread(target=self._watch, args=(recursive,), daemon=True).start()
        threading.Thread(target=self._listen_for_enter, daemon=True).start()

    def stop(self) -> None:
        """End watching."""
        self._stop_event.set()

    def next_change(self) -> Change:
        """Wait for a change, and return it with all others that have come meanwhile.

        Raises:
            SlipwayError: the system cannot watch any longer.
        """
        change = self._raise_error(self.changes.get())
        wait_for_git(self._root)
        while not self.changes.empty():
            change += self._raise_error(self.changes.get())
        return change

    def _listen_for_enter(self) -> None:
        """Take Enter for the wish to deploy, where there is a terminal and this is what it listens to."""
        with suppress(OSError, ValueError):  # no terminal, or it has gone
            terminal = sys.stdin.fileno()
            while os.tcgetpgrp(terminal) == os.getpgrp() and os.read(terminal, 1024):
                self.changes.put(Change(time.monotonic(), deploy_requested=True))

    def _raise_error(self, item: Change | SlipwayError) -> Change:
        if isinstance(item, SlipwayError):
            raise item
        return item

    def _watch(self, recursive: bool) -> None:
        from watchfiles import watch

        blind = False
        while not self._stop_event.is_set():
            folders = watched_folders(self._root, recursive)
            stop_event = _AnyEvent(self._stop_event, self._restart) if recursive else self._stop_event
            try:
                for changes in watch(
                    *folders,
                    watch_filter=None,  # what matters is for the content digest to say
                    step=STEP_MS,
                    debounce=DEBOUNCE_MS,
                    stop_event=stop_event,
                    recursive=recursive,
                    raise_interrupt=False,
                    ignore_permission_denied=True,
                    rust_timeout=POLL_MS,
                    yield_on_timeout=True,
                ):
                    missed_paths = (
                        [self._root / SOURCE_FOLDERS[0]] if blind else []
                    )  # whatever changed while nobody watched
                    blind = False
                    self._publish([*missed_paths, *(Path(path) for _, path in changes)], may_restart=not missed_paths)
            except (OSError, RuntimeError) as error:
                self.changes.put(
                    SlipwayError(
                        f"the files cannot be watched: {error}",
                        remedy="On Linux, raise the limit: sysctl fs.inotify.max_user_watches=524288",
                    )
                )
                return
            if recursive and self._restart.is_set():
                self._restart.clear()
                blind = True

    def _publish(self, paths: Iterable[Path], *, may_restart: bool) -> None:
        relevant = frozenset(path for path in paths if self._is_relevant(path))
        if may_restart and relevant & {self._root / name for name in SOURCE_FOLDERS}:
            self._restart.set()  # the folder itself went or came: the system watches the one that was there
        if relevant:
            self.changes.put(Change(time.monotonic(), relevant))

    def _is_relevant(self, path: Path) -> bool:
        """Whether a path is one of those that decide anything: of the folders above them, few are."""
        parts = path.relative_to(self._root).parts if path.is_relative_to(self._root) else ()
        return bool(parts) and (
            parts[0] in SOURCE_FOLDERS
            or parts == ("workspace.toml",)
            or (parts[0] == "bases" and parts[-1] == "bases.lock.json")
            or (parts[0] == "infra" and parts[-1].endswith(".yaml"))
            or (parts[0] == "deploy" and parts[-1].endswith(".lock.json"))
        )


SOURCE_FOLDERS = ("services", "libs")


class _AnyEvent:
    """Two events as one, as far as watchfiles asks."""

    def __init__(self, *events: threading.Event) -> None:
        self._events = events

    def is_set(self) -> bool:
        return any(event.is_set() for event in self._events)


def watched_folders(root: Path, recursive: bool) -> list[Path]:
    """Return the folders that are watched with all that is in them, or alone."""
    names = SOURCE_FOLDERS if recursive else (".", "bases", "infra", "deploy")
    folders = [root / name for name in names if (root / name).is_dir()]
    return folders or [root / "infra"]


def wait_for_git(root: Path) -> None:
    """Wait while git writes the files of another commit: what is half there is nobody's wish."""
    locks = [folder / ".git" / "index.lock" for folder in (root, *root.parents) if (folder / ".git").is_dir()][:1]
    deadline = time.monotonic() + GIT_LOCK_SECONDS
    while any(lock.exists() for lock in locks) and time.monotonic() < deadline:
        time.sleep(STEP_MS / 1000)
