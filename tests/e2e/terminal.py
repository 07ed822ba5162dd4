"""A recorded terminal: commands run in a pty of a fixed size, what its screen shows at their end, and that as SVG."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

COLUMNS, ROWS = 100, 40
SEQUENCE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b\].*?(?:\x07|\x1b\\)|\x1b.", re.DOTALL)
PLAIN = ""
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
SVG = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="A terminal session">
<style>
.{unique_id}-matrix {{ font-family: FONTS; font-size: {char_height}px; line-height: {line_height}px }}
.{unique_id}-title {{ font-family: FONTS; font-size: 18px }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
""".replace("FONTS", FONTS)
"""Rich's frame without its fonts, which a page would have to fetch from elsewhere."""


@dataclass
class Screen:
    """What a terminal shows: lines of cells, each a character and the SGR codes that it was written with."""

    columns: int = COLUMNS
    rows: int = ROWS
    lines: list[list[tuple[str, str]]] = field(default_factory=lambda: [[]])
    row: int = 0
    column: int = 0
    style: str = PLAIN

    def feed(self, text: str) -> None:
        """Write what a program printed."""
        at = 0
        for found in SEQUENCE.finditer(text):
            self._write(text[at : found.start()])
            if found[2]:
                self._obey(found[1], found[2])
            at = found.end()
        self._write(text[at:])

    def ansi(self) -> list[str]:
        """Return the lines with their colours, without what is blank at their ends."""
        shown = [_with_codes(line) for line in self.lines]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    def _write(self, text: str) -> None:
        for character in text:
            if character == "\n":
                self._go_to(self.row + 1)
            elif character == "\r":
                self.column = 0
            elif character >= " ":
                self._put(character)

    def _put(self, character: str) -> None:
        if self.column == self.columns:
            self.column = 0
            self._go_to(self.row + 1)
        line = self.lines[self.row]
        line.extend([(" ", PLAIN)] * (self.column + 1 - len(line)))
        line[self.column] = (character, self.style)
        self.column += 1

    def _go_to(self, row: int) -> None:
        top = max(0, len(self.lines) - self.rows)  # what has scrolled away is out of a program's reach
        self.row = max(top, row)
        self.lines.extend([] for _ in range(self.row + 1 - len(self.lines)))

    def _obey(self, arguments: str, command: str) -> None:
        number = int(arguments) if arguments.isdigit() else 0
        if command == "m":
            reset = arguments in ("", "0") or arguments.startswith("0;")
            self.style = arguments.removeprefix("0;") if reset else f"{self.style};{arguments}".strip(";")
            self.style = "" if self.style == "0" else self.style
        elif command in "AB":
            self._go_to(self.row + (max(1, number) if command == "B" else -max(1, number)))
        elif command == "K":
            line = self.lines[self.row]
            if number == 2:
                line.clear()
            elif number == 0:
                del line[self.column :]
        elif command == "J" and number == 0:
            del self.lines[self.row][self.column :]
            del self.lines[self.row + 1 :]
        elif not arguments.startswith("?"):
            raise ValueError(f"this terminal does not know ESC[{arguments}{command}")


@dataclass(frozen=True)
class Typed:
    """A command as it was typed, its exit code, and the lines that it left on the screen, with their colours."""

    command: str
    code: int
    lines: Sequence[str]

    @property
    def text(self) -> str:
        """What was on the screen, without colours."""
        return "\n".join(plain(line) for line in self.lines)


def record(typed: str, command: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float) -> Typed:
    """Run a command in a terminal of its own, and return what the terminal shows when it has ended."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    known = {**environment, "TERM": "xterm-256color", "COLORTERM": "", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
    known.pop("NO_COLOR", None)
    with subprocess.Popen(
        command, cwd=folder, env=known, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as child:
        os.close(theirs)
        try:
            screen = Screen()
            screen.feed(b"".join(_chunks(ours)).decode())
            code = child.wait(timeout=seconds)
        finally:
            child.kill()
            os.close(ours)
    return Typed(typed, code, screen.ansi())


def as_svg(session: Sequence[Typed], title: str, mask: Callable[[str], str]) -> str:
    """Draw a session: each command after a prompt, and under it what it printed."""
    from rich.console import Console
    from rich.terminal_theme import MONOKAI
    from rich.text import Text

    out = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor", highlight=False
    )
    for number, typed in enumerate(session):
        if number:
            out.print()
        out.print(Text.assemble(("$ ", "bold green"), (typed.command, "bold white")), no_wrap=True, crop=True)
        for line in _without_blank_edges(typed.lines):
            out.print(Text.from_ansi(mask(line)), no_wrap=True, crop=True)
    out.print()  # the frame would cut the last line's descenders
    svg = out.export_svg(title=title, theme=MONOKAI, code_format=SVG, unique_id="session")
    return "\n".join(line.strip() for line in svg.splitlines() if line.strip()) + "\n"


def lines_of_svg(svg: str) -> list[str]:
    """Return the lines of text that a drawn session shows; its title is not one of them."""
    lines: dict[float, str] = {}
    for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        if not node.get("clip-path") or not node.text:
            continue
        x, y, width = (float(node.get(name, 0)) for name in ("x", "y", "textLength"))
        column = round(x * len(node.text) / width) if width else 0
        lines[y] = lines.get(y, "").ljust(column) + node.text.replace("\xa0", " ")
    return [text.rstrip() for _, text in sorted(lines.items())]


def plain(line: str) -> str:
    """Return a line without its colours."""
    return SEQUENCE.sub("", line)


def _chunks(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError as problem:
            if problem.errno != errno.EIO:  # nobody has the other end any more
                raise
            return
        if not chunk:
            return
        yield chunk


def _with_codes(line: Sequence[tuple[str, str]]) -> str:
    text, last = "", PLAIN
    for character, style in line:
        if style != last:
            text += "\x1b[0m" + (f"\x1b[{style}m" if style else "")
            last = style
        text += character
    return f"{text.rstrip()}\x1b[0m" if last else text.rstrip()


def _without_blank_edges(lines: Sequence[str]) -> Sequence[str]:
    full = [number for number, line in enumerate(lines) if plain(line).strip()]
    return lines[full[0] : full[-1] + 1] if full else []
