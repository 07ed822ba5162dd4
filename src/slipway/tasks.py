"""Slipway's verbs, for a workspace's tasks.py.

`python -m slipway.tasks FOLDER VERB…` runs one on a workspace whose own tasks.py does not know it yet.
"""

from __future__ import annotations

import sys
from pathlib import Path

from slipway._internal.tasks import verbs

__all__ = ["verbs"]


def main(words: list[str]) -> None:
    """Run a verb on the workspace in a folder; ends the program."""
    if not words or not (Path(words[0]) / "workspace.toml").is_file():
        sys.exit("usage: python -m slipway.tasks FOLDER VERB…, where FOLDER is a workspace's")
    from invoke.program import Program

    sys.argv = ["invoke", *words[1:]]
    Program(namespace=verbs(Path(words[0]).resolve()), name="invoke").run()


if __name__ == "__main__":
    main(sys.argv[1:])
