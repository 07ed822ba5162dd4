"""Output for users: colour and live progress in a terminal, plain lines elsewhere, a message for every error."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.masking import mask, mask_all
from slipway._internal.model.terminal_text import sanitize, sanitize_line, sanitize_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from slipway._internal.build.build import ShippedImage
    from slipway._internal.build.fast_path import BuiltImage
    from slipway._internal.release.deploy import Consent, DeployResult

SIGN_OF_LIFE_SECONDS = 20.0
"""Seconds after which something that takes long says its newest line, where nothing moves."""

MAX_UNCHANGED_LINES = 30
"""Services that have a line each where nothing changed; of more, only their number is told."""

MIN_COLUMNS = 40
"""Columns that a terminal has at least, whatever COLUMNS says: in fewer, each letter would be a line."""

MAX_LOG_LINE_CHARACTERS = 10_000
"""Letters of a log's line that are shown in a terminal."""

PIPE_COLUMNS = 200
"""Columns when the output is not a terminal: nothing is cut off in a file or a pipe."""


def console(*, stderr: bool = False) -> Console:
    """Return the console: colours and movement in a terminal, plain text elsewhere."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    out = Console(
        stderr=stderr, highlight=False, soft_wrap=not stream.isatty(), width=None if stream.isatty() else PIPE_COLUMNS
    )
    out.width = max(out.width, MIN_COLUMNS)
    return out


def error(problem: SlipwayError) -> None:
    """Print what is wrong, the lines that show it, where the whole story is, and the remedy."""
    try:
        from rich.text import Text
    except ImportError:  # the workspace's own Python is not there yet
        sys.stderr.write(f"✘ {problem.message}\n  remedy  {problem.remedy}\n")
        return
    out = console(stderr=True)
    out.print(Text.assemble(("✘ ", "bold red"), ("\n".join(sanitize_lines(problem.message)), "bold")))
    for line in sanitize_lines(problem.detail):
        out.print(Text(f"  │ {line}", style="dim"))
    if problem.log:
        out.print(Text.assemble(("  log     ", "cyan"), str(problem.log)))
    if problem.remedy:
        out.print(Text.assemble(("  remedy  ", "cyan"), mask(problem.remedy)))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: drawn in a terminal, aligned columns elsewhere."""
    console().print(_render_table(columns, rows))


def as_json(value: Any) -> None:
    """Print a value as JSON, for programs."""
    sys.stdout.write(json.dumps(mask_all(value), indent=2) + "\n")


def say(text: str) -> None:
    """Print a line; rich's markup gives it colour."""
    console().print(mask(text))


def warn(text: str) -> None:
    """Print beside the result what went wrong although the work is done."""
    from rich.text import Text

    console(stderr=True).print(Text.assemble(("! ", "bold yellow"), text))


def note(text: str) -> None:
    """Print a line beside the result, so that a program that reads the result need not know it."""
    console(stderr=True).print(mask(text))


def plain_note(text: str) -> None:
    """Print a text as it is beside the result, as `plain` does."""
    sys.stderr.write(f"{sanitize(text)}\n")


def plain(text: str) -> None:
    """Print a text as it is, without what would move or clear a terminal."""
    sys.stdout.write(f"{sanitize(text)}\n")


def log_line(line: str) -> None:
    """Print a line of a log, without what would move or clear a terminal; whole, but in a terminal only its start."""
    sys.stdout.write(f"{sanitize_line(line, MAX_LOG_LINE_CHARACTERS if sys.stdout.isatty() else None)}\n")


def confirm(question: str) -> bool:
    """Ask yes or no; without a terminal nobody can answer, which is no."""
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        return False
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def ask(question: str) -> str:
    """Return the line that the user types, or a program writes to standard input; empty where there is none."""
    sys.stderr.write(question)
    sys.stderr.flush()
    try:
        return sys.stdin.readline().strip() if sys.stdin and not sys.stdin.closed else ""
    except (OSError, ValueError):
        return ""


def consent(yes: bool) -> Consent:
    """Return who answers a flow's questions: `--yes`, or the user."""
    return (lambda _question: True) if yes else confirm


def unchanged_images(images: Mapping[str, BuiltImage]) -> None:
    """Print that services' images are what they were; quickly, for this is what is asked most often."""
    width = max([len(name) for name in images], default=0)
    for name, image in images.items() if len(images) <= MAX_UNCHANGED_LINES else ():
        where = "is in the registry" if image.pushed else "is built"
        plain(f"{name:<{width}}  {image.tag.rpartition('h-')[2][:12]}  {image.digest} {where}")
    plain(f"✔ Nothing changed: {len(images)} of {len(images)} images are up to date.")


def shipped_images(images: Iterable[ShippedImage]) -> None:
    """Print what a push or the gate has done, a line for each service."""
    table(("service", "image", ""), [(image.service, image.ref, image.note) for image in images])


def deploy_result(result: DeployResult) -> None:
    """Print what a deploy has left in place."""
    table(
        ("service", "image digest", "URL", "health"),
        [(row.service, short_digests(row.digest), row.url or "-", row.health) for row in result.rows],
    )
    if result.changed:
        say(f"[green]✔[/] {result.stack} is deployed ({result.mode}, {result.seconds:.1f} s).")
    else:
        say(f"[green]✔[/] Nothing changed: {result.stack} runs what it should ({result.seconds:.1f} s).")


def short_digests(text: str) -> str:
    """Cut a text's digests to their first twelve characters in a terminal, where whole ones would break the line."""
    return re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1", text) if sys.stdout.isatty() else text


@contextmanager
def progress(title: str) -> Iterator[LiveReporter | PlainReporter]:
    """Show a report of services while a flow works: a live table in a terminal, one line a change elsewhere."""
    out = console()
    if not out.is_terminal:
        yield PlainReporter()
        return
    with LiveReporter(title, out) as reporter:
        yield reporter


@contextmanager
def dev_console(services: Sequence[str]) -> Iterator[TerminalDevConsole]:
    """Show what `invoke dev` says, line by line: its own words, and each service's log in the service's colour."""
    yield TerminalDevConsole(services, console())


class PlainReporter:
    """One line for each change, and now and then a sign of life from what takes long; logs have the rest."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._printed_at: dict[str, float] = {}

    def say(self, text: str) -> None:
        sys.stdout.write(f"{sanitize(text)}\n")
        sys.stdout.flush()

    def step(self, service: str, state: str, detail: str = "") -> None:
        now = time.monotonic()
        if self._states.get(service) != state:
            self.say(f"{service:<12} {state}")
        elif detail and now - self._printed_at[service] >= SIGN_OF_LIFE_SECONDS:
            self.say(f"{service:<12} {state}: {sanitize_line(detail)}")
        else:
            return
        self._states[service] = state
        self._printed_at[service] = now

    def done(self, service: str, state: str) -> None:
        self.step(service, state)

    def failed(self, service: str, state: str) -> None:
        self.step(service, state)


COLOURS = ("cyan", "magenta", "yellow", "blue", "green", "bright_cyan", "bright_magenta", "bright_yellow")


class TerminalDevConsole(PlainReporter):
    """A plain report that also shows logs and errors; several threads may speak, each a line at a time."""

    def __init__(self, services: Sequence[str], out: Console) -> None:
        super().__init__()
        self._out = out
        self._lock = threading.Lock()
        self._colours = assign_colours(services)
        self._width = max((len(name) for name in services), default=0)

    def say(self, text: str) -> None:
        with self._lock:
            self._out.print(sanitize(text), style="bold", markup=False, soft_wrap=True)

    def log(self, service: str, line: str) -> None:
        from rich.text import Text

        colour = self._colours.setdefault(service, COLOURS[len(self._colours) % len(COLOURS)])
        text = Text(sanitize_line(line, MAX_LOG_LINE_CHARACTERS))
        with self._lock:
            self._out.print(Text.assemble((f"{service:<{self._width}} │ ", colour), text), soft_wrap=True)

    def show_error(self, problem: SlipwayError) -> None:
        with self._lock:
            error(problem)


def assign_colours(services: Iterable[str]) -> dict[str, str]:
    """Return a colour for each service: the same one each time, and different ones as long as there are enough."""
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(sorted(services))}


class LiveReporter:
    """A line for each service that changes in place: its state, its newest line of output, the seconds it took."""

    def __init__(self, title: str, out: Console) -> None:
        from rich.live import Live

        self._title = title
        self._rows: dict[str, tuple[str, str, str]] = {}
        self._started_at: dict[str, float] = {}
        self._durations: dict[str, float] = {}
        self._live = Live(console=out, get_renderable=self._draw, refresh_per_second=8)

    def __enter__(self) -> LiveReporter:
        self._live.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        self._live.__exit__(*problem)

    def say(self, text: str) -> None:
        self._live.console.print(sanitize(text), style="dim", markup=False)

    def step(self, service: str, state: str, detail: str = "") -> None:
        self._started_at.setdefault(service, time.monotonic())
        self._durations.pop(service, None)
        self._rows[service] = ("busy", state, sanitize_line(detail))

    def done(self, service: str, state: str) -> None:
        self._end(service, "done", state)

    def failed(self, service: str, state: str) -> None:
        self._end(service, "failed", state)

    def _end(self, service: str, how: str, state: str) -> None:
        self._durations[service] = time.monotonic() - self._started_at.setdefault(service, time.monotonic())
        self._rows[service] = (how, state, "")

    def _draw(self) -> Table:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=1)
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(no_wrap=True)
        grid.add_column(style="dim", no_wrap=True, overflow="ellipsis", ratio=1)
        grid.add_column(justify="right", style="dim", no_wrap=True)
        marks = {"done": Text("✔", "green"), "failed": Text("✘", "red")}
        now = time.monotonic()
        for service, (how, state, detail) in list(self._rows.items()):  # other threads add to them
            seconds = max(0.0, self._durations.get(service, now - self._started_at[service]))
            grid.add_row(marks.get(how, Spinner("dots")), service, state, Text(detail), f"{seconds:.1f} s")
        return grid


def _render_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    from rich import box
    from rich.table import Table

    rendered = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False, header_style="bold cyan")
    for column in columns:
        rendered.add_column(column, overflow="fold")
    for row in rows:
        rendered.add_row(*map(mask, row))
    return rendered
