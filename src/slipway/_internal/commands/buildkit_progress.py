"""Parses BuildKit's JSON progress (`--progress=rawjson`) into events that each belong to one service."""

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

EventType = Literal["started", "done", "cached", "failed", "log", "warning"]
_NAME = re.compile(r"\[([^\]]*)\]\s*(.*)", re.DOTALL)
_STEP_NUMBER = re.compile(r"(\d+)/(\d+)")
MAX_KEPT_LINES = 1000


@dataclass(frozen=True)
class BuildStep:
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
        position = f"{self.stage} {self.number}/{self.total}".strip() if self.total else ""
        return f"[{position}] {self.text}" if position else self.text


@dataclass(frozen=True)
class BuildEvent:
    """Something that happened to a step: it started or ended, wrote a line (`log`), or gave a warning.

    `text` is the line, the warning, or what failed; `seconds` how long the step took, where it has ended.
    """

    kind: EventType
    step: BuildStep
    text: str = ""
    seconds: float = 0.0

    @property
    def target(self) -> str:
        return self.step.target


@dataclass
class _Vertex:
    """What is known of one node of BuildKit's graph; targets that share a step share the node."""

    steps: dict[str, BuildStep] = field(default_factory=dict)
    reported: dict[str, set[str]] = field(default_factory=dict)
    open_lines: dict[int, str] = field(default_factory=dict)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_KEPT_LINES))


class ProgressParser:
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

    def feed(self, line: str) -> list[BuildEvent]:
        """Return what one line of output tells."""
        found = _parse_object(line)
        if found is None:
            if line.strip():
                self.text.append(line.rstrip())
            return []
        events = [event for message in _dicts_in(found, "vertexes") for event in self._read_vertex(message)]
        events += [event for message in _dicts_in(found, "logs") for event in self._read_log(message)]
        events += [event for message in _dicts_in(found, "warnings") for event in self._read_warning(message)]
        return events

    def _read_vertex(self, message: dict[str, Any]) -> Iterator[BuildEvent]:
        vertex = self._vertices.setdefault(str(message.get("digest")), _Vertex())
        step = self._parse_step_name(str(message.get("name", "")))
        if step is None:
            return
        if step.target not in vertex.steps:
            vertex.steps[step.target] = step
            vertex.reported[step.target] = set()
            yield from (BuildEvent("log", step, line) for line in vertex.lines)
        kind = _event_type(message)
        if kind and kind != "started":
            yield from self._flush_open_lines(vertex)
        reported = vertex.reported[step.target]
        if kind and kind not in reported and not (kind == "started" and reported):
            reported.add(kind)
            yield BuildEvent(kind, step, str(message.get("error") or ""), _duration(message))

    def _read_log(self, message: dict[str, Any]) -> Iterator[BuildEvent]:
        vertex = self._vertices.setdefault(str(message.get("vertex")), _Vertex())
        stream = 2 if message.get("stream") == 2 else 1
        text = vertex.open_lines.pop(stream, "") + _decode_text(message.get("data"))
        *complete_lines, rest = text.replace("\r\n", "\n").split("\n")
        if rest:
            vertex.open_lines[stream] = rest
        yield from self._emit_lines(vertex, complete_lines)

    def _flush_open_lines(self, vertex: _Vertex) -> Iterator[BuildEvent]:
        """Yield the last lines of an ended step, which had no line end."""
        left, vertex.open_lines = list(vertex.open_lines.values()), {}
        yield from self._emit_lines(vertex, left)

    def _emit_lines(self, vertex: _Vertex, lines: list[str]) -> Iterator[BuildEvent]:
        for line in lines:
            last = line.rstrip("\r").rpartition("\r")[2]  # of a progress bar, what stood there in the end
            vertex.lines.append(last)
            yield from (BuildEvent("log", step, last) for step in vertex.steps.values())

    def _read_warning(self, message: dict[str, Any]) -> Iterator[BuildEvent]:
        vertex = self._vertices.get(str(message.get("vertex")), _Vertex())
        text = _decode_text(message.get("short"))
        yield from (BuildEvent("warning", step, text) for step in vertex.steps.values())

    def _parse_step_name(self, name: str) -> BuildStep | None:
        """Read `[api build 2/5] RUN …`; bake leaves out the name of a single target: `[build 2/5] RUN …`."""
        match = _NAME.match(name)
        words = match[1].split() if match else []
        if len(self._targets) == 1:
            target = self._targets[0]
        elif words and words[0] in self._targets:
            target = words.pop(0)
        else:
            return None
        return _make_step(target, words, match[2] if match else name)


def parse_step(target: str, name: str) -> BuildStep:
    """Return the step of a target that has the builder to itself: `[build 2/5] RUN …`."""
    match = _NAME.match(name)
    return _make_step(target, match[1].split() if match else [], match[2] if match else name)


def _make_step(target: str, words: Sequence[str], text: str) -> BuildStep:
    """Return the step that the words within the brackets name: its stage, and which of its steps it is."""
    numbers = _STEP_NUMBER.fullmatch(words[-1]) if words else None
    if numbers is None:
        return BuildStep(target, "", 0, 0, text, internal=True)
    return BuildStep(target, " ".join(words[:-1]), int(numbers[1]), int(numbers[2]), text, internal=False)


def _event_type(message: dict[str, Any]) -> EventType | None:
    if message.get("error"):
        return "failed"
    if message.get("cached"):
        return "cached"
    if message.get("completed"):
        return "done"
    return "started" if message.get("started") else None


def _parse_object(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _dicts_in(found: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the tables that a list holds; what is none is passed over."""
    items = found.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _decode_text(data: object) -> str:
    try:
        return base64.b64decode(str(data or "")).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _duration(message: dict[str, Any]) -> float:
    try:
        start, end = (datetime.fromisoformat(str(message[key])) for key in ("started", "completed"))
        return max(0.0, (end - start).total_seconds())
    except (KeyError, ValueError, TypeError):  # TypeError: one has a time zone, the other has none
        return 0.0
