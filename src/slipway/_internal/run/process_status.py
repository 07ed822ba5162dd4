"""What Linux tells of a process by its number, which goes to another one day: so when it began tells the two apart."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessStatus:
    """A process as /proc/PID/stat has it; `start_ticks` since the machine's start, as a text."""

    name: str
    state: str
    session: int
    threads: int
    start_ticks: str

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, though nobody has asked yet how."""
        return self.state in "ZX"


def read_status(pid: int | str) -> ProcessStatus | None:
    """Return what is known of a process, or of `self`; None where it is gone, or the system has no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        name, _, rest = text.partition("(")[2].rpartition(")")  # a name may hold anything, brackets too
        fields = rest.split()
        return ProcessStatus(name, fields[0], int(fields[3]), int(fields[17]), fields[19])
    except (OSError, IndexError, ValueError):
        return None


def read_start_time(pid: int) -> str:
    """Return when a process began, in a form to compare; nothing where it is gone or that is not told."""
    status = read_status(pid)
    return format_start_time(status) if status else ""


def format_start_time(status: ProcessStatus) -> str:
    """Return when a process began, in a form to compare: no other boot's; nothing where that is not told."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{status.start_ticks}"
    return ""
