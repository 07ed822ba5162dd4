"""A program: renders the template that standard input names. It imports nothing of Slipway.

The template's own code runs in this process, and may bring another version of Slipway with it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cookiecutter.exceptions import CookiecutterException
from cookiecutter.main import cookiecutter

REFUSED = 3


def main() -> None:
    """Render the template; end with status REFUSED and the reason where it refuses."""
    request = json.load(sys.stdin)
    output = Path(request["output"])
    config = output / "config.yaml"
    settings = {
        "cookiecutters_dir": str(output / "clones"),
        "replay_dir": str(output / "replay"),
        "default_context": {},
        "abbreviations": {},
    }
    config.write_text(json.dumps(settings), encoding="utf-8")
    (output / "workspace").mkdir()
    try:
        cookiecutter(
            request["template"],
            no_input=True,
            extra_context=request["answers"],
            config_file=str(config),
            output_dir=str(output / "workspace"),
        )
    except (CookiecutterException, ValueError) as error:
        print(error)
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()
