"""This workspace's commands: Slipway's verbs, and beside them your own. `invoke --list` shows them all.

Slipway is a package that requirements.txt pins; it lives in .venv. Whatever Python reads this file makes .venv, renews
it when requirements.txt has changed, and goes on in it. Where there is no Invoke, `python3 tasks.py up` does the same.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LOCK, VENV = ROOT / "requirements.txt", ROOT / ".venv"
PYTHON, STAMP = VENV / "bin" / "python", VENV / "made-from"
ELSEWHERE = {"PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_NO_DEPS", "PIP_DRY_RUN"}


def enter_venv() -> None:
    """Return in an up-to-date .venv; anywhere else see to it, and start the same command in it."""
    try:
        if made_from() != f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()} {origin()}":
            make_venv()
        elif Path(sys.prefix).samefile(VENV) and __name__ != "__main__":
            return
    except KeyboardInterrupt:
        print("Stopped. Run it again to go on.", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        sys.exit(f"✘ .venv cannot be made: {error}\n  remedy  Restore {LOCK.name} from git; make {ROOT} writable.")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    os.execve(PYTHON, [str(PYTHON), "-P", "-m", "invoke", *sys.argv[1:]], environment)  # noqa: S606


def made_from() -> str:
    """Return what .venv is made from: the lock's digest and the `origin`; nothing where it is not complete."""
    whole = all(path.exists() for path in (STAMP, PYTHON, VENV / "pyvenv.cfg"))
    return STAMP.read_text(encoding="utf-8") if whole else ""


def origin() -> str:
    """Return the Python behind .venv, and the path that its programs know it by; a change of either makes it anew."""
    return f"{PYTHON.resolve()} {VENV.resolve()}"


def make_venv() -> None:
    """Make .venv or bring it up to date; end with status 1 when that fails."""
    with LOCK.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time: others wait here
        os.set_inheritable(lock.fileno(), True)  # pip holds it, too, if this process is killed
        digest, before = hashlib.sha256(lock.read()).hexdigest(), made_from()
        if before == f"{digest} {origin()}":
            return
        print(f"Setting up {VENV} with the packages that {LOCK.name} locks (once, about a minute).", file=sys.stderr)
        STAMP.unlink(missing_ok=True)
        pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        if before.endswith(f" {origin()}"):  # all but the engine can stay: another one may have the same version
            run(*pip, "uninstall", "--yes", "slipway-workspace")
        else:
            run(str(Path(sys.executable).resolve()), "-m", "venv", "--clear", str(VENV))
        run(*pip, "install", "--require-hashes", "-r", str(LOCK))
        STAMP.write_text(f"{digest} {origin()}", encoding="utf-8")


def run(*command: str) -> None:
    """Run a step without the variables that lead Python or pip elsewhere; no proxy is asked for this machine."""
    kept = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    for name in ("no_proxy", "NO_PROXY"):
        kept[name] = ",".join(filter(None, (kept.get(name), "localhost", "127.0.0.1", "::1")))
    if subprocess.run(command, env={**kept, "PIP_USER": "0"}, close_fds=False, check=False).returncode:
        sys.exit(
            f"✘ {' '.join(command[:4])} … failed\n"
            "  remedy  Read the lines above. On Debian and Ubuntu `apt install python3-venv` brings the module\n"
            "          that makes environments; behind a proxy set PIP_CERT and PIP_INDEX_URL."
        )


enter_venv()

from slipway.tasks import verbs

namespace = verbs(ROOT)

# Your own commands go here: a function with @task (from invoke), then namespace.add_task(it).
