"""Callers that go on requesting pages while something is deployed, and notice every request that fails."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass
class Seen:
    """What the callers got: the bodies of all good answers, and every failure in words."""

    answers: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def count(self, text: str) -> int:
        """Return how many answers held a text."""
        return sum(text in answer for answer in self.answers)


@contextmanager
def calling(
    port: int,
    *paths: str,
    host: str = "127.0.0.1",
    keep: tuple[bool, ...] = (True, False),
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Seen]:
    """Request each path over and over, by one caller that keeps its connection and one that does not."""
    seen, stop = Seen(), threading.Event()
    callers = [
        threading.Thread(target=_call, args=(host, port, path, headers, each, seen, stop))
        for path in paths
        for each in keep
    ]
    for caller in callers:
        caller.start()
    try:
        yield seen
    finally:
        stop.set()
        for caller in callers:
            caller.join()


def _call(
    host: str, port: int, path: str, headers: Mapping[str, str], keep: bool, seen: Seen, stop: threading.Event
) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=60)
    while not stop.wait(0.02):
        try:
            connection.request("GET", path, headers=headers)
            reply = connection.getresponse()
            text = reply.read().decode()
        except (OSError, http.client.HTTPException) as error:
            seen.failures.append(
                f"{path}, {'kept' if keep else 'new'} connection, answer {len(seen.answers)}: {error!r}"
            )
            connection.close()
            continue
        if reply.status == 200:
            seen.answers.append(text)
        else:
            seen.failures.append(f"{path}: {reply.status} {text[:100]}")
        if not keep:
            connection.close()
