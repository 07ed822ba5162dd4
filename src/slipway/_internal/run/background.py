"""Work in a thread of its own, for what cannot be interrupted or given a timeout."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Work in a thread: a caller waits for its result or error, or abandons it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._done = threading.Event()
        self._results: list[T] = []
        self._error: BaseException | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait for the end; False when it has not come within that time."""
        return self._done.wait(seconds)

    def result(self) -> T:
        """Return what work that has ended returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # handed to whoever asks for the result
            self._error = error
        finally:
            self._done.set()
