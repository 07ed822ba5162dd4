"""What BuildKit tells while bake runs (`--progress=rawjson`), as events that each belong to one service."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Kind = Literal["started", "done", "cached", "failed", "log", "warning"]
_NAME = re.compile(r"\[([^\]]*)\]\s*(.*)", re.DOTALL)
_NUMBERS = re.compile(r"(\d+)/(\d+)")
KEPT_LINES = 1000


@dataclass(frozen=True)
class Step:
    """One step of one target's build.

    Attributes:
        target: the target's name.
        stage: the Dockerfile stage, with its platform where there are several; empty for BuildKit's own
        steps.
        number: which of the stage's steps it is, from 1; 0 for BuildKit's own.
        total: how many steps the stage has; 0 for BuildKit's own.
        text: the instruction, or what BuildKit does.
        internal: whether it is one of BuildKit's own, such as loading the Dockerfile.
    """

    target: str
    stage: str
    number: int
    total: int
    text: str
    internal: bool

    def __str__(self) -> str:
        place = f"{self.stage} {self.number}/{self.total}".strip() if self.total else ""
        return f"[{place}] {self.text}" if place else self.text


@dataclass(frozen=True)
class Event:
    """Something that happened to a step: it started or ended, wrote a line (`log`), or gave a warning.

    `text` is the line, the warning, or what failed; `seconds` how long the step took, where it has ended.
    """

    kind: Kind
    step: Step
    text: str = ""
    seconds: float = 0.0

    @property
    def target(self) -> str:
        return self.step.target


@dataclass
class _Vertex:
    """What is known of one node of BuildKit's graph; targets that share a step share the node."""

    steps: dict[str, Step] = field(default_factory=dict)
    told: dict[str, set[str]] = field(default_factory=dict)
    open_lines: dict[int, str] = field(default_factory=dict)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))


class Progress:
    """Turns bake's lines into events.

    A step that several targets share is built once, and BuildKit tells its output once: each of them gets
    it, also one that comes to it later. What is no event stays in `text`: bake's own words about what went
    wrong.
    """

    def __init__(self, targets: Sequence[str]) -> None:
        """Args: targets: the names of the targets that bake was asked to build."""
        self.text: list[str] = []
        self._targets = tuple(targets)
        self._vertices: dict[str, _Vertex] = {}

    def feed(self, line: str) -> list[Event]:
        """Return what one line of output tells."""
        found = _json(line)
        if found is None:
            if line.strip():
                self.text.append(line.rstrip())
            return []
        events = [event for each in _tables(found, "vertexes") for event in self._vertex(each)]
        events += [event for each in _tables(found, "logs") for event in self._log(each)]
        events += [event for each in _tables(found, "warnings") for event in self._warning(each)]
        return events

    def _vertex(self, told: dict[str, Any]) -> Iterator[Event]:
        vertex = self._vertices.setdefault(str(told.get("digest")), _Vertex())
        step = self._step(str(told.get("name", "")))
        if step is None:
            return
        if step.target not in vertex.steps:
            vertex.steps[step.target] = step
            vertex.told[step.target] = set()
            yield from (Event("log", step, line) for line in vertex.lines)
        kind = _kind(told)
        if kind and kind != "started":
            yield from self._rest(vertex)
        done = vertex.told[step.target]
        if kind and kind not in done and not (kind == "started" and done):
            done.add(kind)
            yield Event(kind, step, str(told.get("error") or ""), _seconds(told))

    def _log(self, told: dict[str, Any]) -> Iterator[Event]:
        vertex = self._vertices.setdefault(str(told.get("vertex")), _Vertex())
        stream = 2 if told.get("stream") == 2 else 1
        text = vertex.open_lines.pop(stream, "") + _decoded(told.get("data"))
        *whole, rest = text.replace("\r\n", "\n").split("\n")
        if rest:
            vertex.open_lines[stream] = rest
        yield from self._lines(vertex, whole)

    def _rest(self, vertex: _Vertex) -> Iterator[Event]:
        """Yield the last lines of an ended step, which had no line end."""
        left, vertex.open_lines = list(vertex.open_lines.values()), {}
        yield from self._lines(vertex, left)

    def _lines(self, vertex: _Vertex, lines: list[str]) -> Iterator[Event]:
        for line in lines:
            last = line.rstrip("\r").rpartition("\r")[2]  # of a progress bar, what stood there in the end
            vertex.lines.append(last)
            yield from (Event("log", step, last) for step in vertex.steps.values())

    def _warning(self, told: dict[str, Any]) -> Iterator[Event]:
        vertex = self._vertices.get(str(told.get("vertex")), _Vertex())
        text = _decoded(told.get("short"))
        yield from (Event("warning", step, text) for step in vertex.steps.values())

    def _step(self, name: str) -> Step | None:
        """Read `[api build 2/5] RUN …`; bake leaves out the name of a single target: `[build 2/5] RUN …`."""
        match = _NAME.match(name)
        words = match[1].split() if match else []
        if len(self._targets) == 1:
            target = self._targets[0]
        elif words and words[0] in self._targets:
            target = words.pop(0)
        else:
            return None
        return _numbered(target, words, match[2] if match else name)


def step_of(target: str, name: str) -> Step:
    """Return the step of a target that has the builder to itself: `[build 2/5] RUN …`."""
    match = _NAME.match(name)
    return _numbered(target, match[1].split() if match else [], match[2] if match else name)


def _numbered(target: str, words: Sequence[str], text: str) -> Step:
    """Return the step that the words within the brackets name: its stage, and which of its steps it is."""
    numbers = _NUMBERS.fullmatch(words[-1]) if words else None
    if numbers is None:
        return Step(target, "", 0, 0, text, internal=True)
    return Step(target, " ".join(words[:-1]), int(numbers[1]), int(numbers[2]), text, internal=False)


def _kind(told: dict[str, Any]) -> Kind | None:
    if told.get("error"):
        return "failed"
    if told.get("cached"):
        return "cached"
    if told.get("completed"):
        return "done"
    return "started" if told.get("started") else None


def _json(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _tables(found: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the tables that a list holds; what is none is passed over."""
    every = found.get(key)
    return [each for each in every if isinstance(each, dict)] if isinstance(every, list) else []


def _decoded(data: object) -> str:
    try:
        return base64.b64decode(str(data or "")).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _seconds(told: dict[str, Any]) -> float:
    try:
        start, end = (datetime.fromisoformat(str(told[key])) for key in ("started", "completed"))
        return max(0.0, (end - start).total_seconds())
    except (KeyError, ValueError, TypeError):  # TypeError: one has a time zone, the other has none
        return 0.0
