"""Makes the output of builds, containers and tools safe for a terminal: no line can move, clear, recolour or flood it.

Known secrets are masked too: before a line is cut, and again after control sequences between their letters are gone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from slipway._internal.model.masking import mask

MAX_LINE_CHARACTERS = 500
"""How many characters of a line are shown of a failed step or of progress."""
TAIL_LINES = 15
"""How many last lines of a failed step or pod stand in its error; its log has them all."""
LAST_LINES = "its last lines"
"""How the line begins that stands above a service's own lines in an error; they are indented below it."""
MAX_LINES = 200
"""How many lines of output an error shows."""

_CONTROL_SEQUENCES = re.compile(
    r"(?:\x1b\]|\x9d)[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC: titles, links, the clipboard
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c\n]*(?:\x1b\\|\x9c)?"  # DCS, SOS, PM, APC
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, moves, clearing
    r"|\x1b[ -/]*[0-~]?"  # any other, such as a reset
)
# Controls of both sets, marks that turn the direction of writing, halves of letters (bytes that were not UTF-8).
_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def sanitize_line(line: str, limit: int | None = MAX_LINE_CHARACTERS) -> str:
    """Return a line that is safe to show: the last state of a progress bar; only its start if it is long.

    Args:
        line: the line, without its end.
        limit: letters that are shown; None for all.
    """
    text = mask(line).rstrip("\r\n").rpartition("\r")[2]
    text = mask(_CONTROL_CHARACTERS.sub("", _CONTROL_SEQUENCES.sub("", text)).expandtabs(8))
    if limit is None or len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text):,} letters)"


def sanitize(text: str) -> str:
    """Return a whole text that is safe to show."""
    return "\n".join(sanitize_line(line, None) for line in mask(text).split("\n"))


def sanitize_lines(text: str, lines: int = MAX_LINES) -> list[str]:
    """Return a text's lines, safe to show; of very many, the first and the last."""
    found: Sequence[str] = mask(text).split("\n")
    if found and not found[-1]:
        found = found[:-1]
    if len(found) > lines:
        first, last = lines // 3, lines - lines // 3
        found = [*found[:first], f"… ({len(found) - lines:,} lines more)", *found[-last:]]
    return [sanitize_line(line) for line in found]
