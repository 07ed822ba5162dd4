"""An Invoke command with everything counted that it starts or connects to: `python audited.py FILE WORD…`.

Python itself tells of both (its audit events), from all threads. FILE gets a JSON object: event → how many.
"""

from __future__ import annotations

import atexit
import json
import sys
from collections import Counter
from pathlib import Path

PROCESSES = ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.exec", "os.system")
CONNECTIONS = ("socket.connect", "socket.getaddrinfo")

counted: Counter[str] = Counter()
wanted = frozenset((*PROCESSES, *CONNECTIONS))


def note(event: str, _arguments: tuple[object, ...]) -> None:
    """Count an event that matters."""
    if event in wanted:
        counted[event] += 1


def main() -> None:
    """Run the command in this process."""
    file = Path(sys.argv[1])
    atexit.register(lambda: file.write_text(json.dumps(counted), encoding="utf-8"))
    sys.argv = ["invoke", *sys.argv[2:]]
    sys.addaudithook(note)
    from invoke.main import program

    program.run()


if __name__ == "__main__":
    main()
