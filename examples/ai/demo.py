"""Generates a workspace with a gateway for language models, a model of its own and a service that summarises texts.

    python3 examples/ai/demo.py [FOLDER] [KEY=VALUE…]    # generate, deploy, ask; again: deploy and ask
    python3 examples/ai/demo.py [FOLDER] --down          # remove what runs, and its data

FOLDER is `demo-ai` where nothing is said. KEY=VALUE answers a question of the template, such as gateway_port=8090.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
TEMPLATE = HERE.parents[1]
STACK = "dev"
CALLER = "digest/digest"
"""The tenant, and the service of theirs, that the key is made for."""
TEXT = (
    "A slipway is a ramp on the shore by which ships or boats can be moved to and from the water. They are used for "
    "building and repairing ships and boats, and for launching and retrieving small boats on trailers."
)


def main(arguments: Sequence[str]) -> None:
    """Do what the arguments say."""
    names = [word for word in arguments if not word.startswith("--") and "=" not in word]
    answers = [word for word in arguments if not word.startswith("--") and "=" in word]
    root = Path(names[0] if names else "demo-ai").resolve()
    if "--down" in arguments:
        # The name is what `invoke down --volumes` asks for.
        invoke(root, "down", "--volumes", "--yes", text=f"{root.name}-{STACK}\n")
        return
    if not (root / "workspace.toml").is_file():
        generate(root, answers)
        add_services(root)
        invoke(root, "setup")
        give_key(root)
    invoke(root, "up", "--yes")
    ask(root)
    invoke(root, "ai", "usage", "--by", "tenant,service,model,prompt")


def generate(root: Path, answers: Sequence[str] = ()) -> None:
    """Generate the workspace, without services."""
    given = ["services=none", *answers, f"project_slug={root.name}"]
    run(["cookiecutter", TEMPLATE, "--no-input", "--output-dir", root.parent, *given], TEMPLATE)


def add_services(root: Path) -> None:
    """Add the gateway with its counters, and then what this example has in services/."""
    invoke(root, "new", "valkey", "--kind", "valkey")
    invoke(root, "new", "ai", "--kind", "ai-gateway")
    copy_services(root)


def copy_services(root: Path) -> None:
    """Copy what this example has in services/, and name the model and the secret in the gateway's file.

    Raises:
        SystemExit: the gateway's file is not as this example knows it.
    """
    services = root / "services"
    (services / "ai" / "ai" / "prompts" / "summary.md").unlink()  # the kind's own example
    shutil.copytree(HERE / "services", services, dirs_exist_ok=True)
    file = services / "ai" / "service.toml"
    text = file.read_text(encoding="utf-8")
    text = replace(text, r'^needs = \["valkey"\]$', 'needs = ["valkey", "llama"]')
    text = replace(text, r"^# secrets = .*$", 'secrets = ["TENANT_KEYS"]')
    file.write_text(text, encoding="utf-8")


def replace(text: str, pattern: str, line: str) -> str:
    """Return a text with one line in another's place.

    Raises:
        SystemExit: there is no such line, or there are several.
    """
    text, count = re.subn(pattern, line, text, flags=re.MULTILINE)
    if count != 1:
        sys.exit(f"✘ service.toml of the kind has changed: {count} lines are {pattern}")
    return text


def give_key(root: Path) -> None:
    """Make a key: the gateway gets its hash, the service that calls gets it, both as secrets of the stack."""
    made = run([sys.executable, "-m", "app.keys", CALLER], root / "services" / "ai", capture=True)
    key, line = (printed.partition(": ")[2].strip() for printed in made.splitlines())
    pulumi = root / ".venv" / "bin" / "pulumi"
    run([pulumi, "stack", "select", "--create", STACK], root / "infra")
    for name, value in (("ai:TENANT_KEYS", line), ("digest:AI_KEY", key)):
        run([pulumi, "config", "set", "--secret", "--stack", STACK, name], root / "infra", text=value)


def ask(root: Path) -> None:
    """Have a text summarised, and print what comes back."""
    port = re.findall(r"^port = (\d+)", (root / "workspace.toml").read_text(encoding="utf-8"), re.MULTILINE)[0]
    url = f"http://127.0.0.1:{port}/digest"
    print(f'\n$ curl {url} -d \'{{"text": "{TEXT[:24]}…"}}\'', flush=True)
    body = json.dumps({"text": TEXT}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=180) as answer:
            print(json.dumps(json.load(answer), indent=2, ensure_ascii=False))
    except urllib.error.HTTPError as error:
        sys.exit(f"✘ {error.code}: {error.read().decode(errors='replace')}")


def invoke(root: Path, *words: str, text: str | None = None) -> None:
    """Run a verb of the workspace, which goes on in the workspace's own Python."""
    print(f"\n$ invoke {' '.join(words)}", flush=True)
    run([sys.executable, "tasks.py", *words], root, text=text)


def run(command: Sequence[str | Path], folder: Path, *, text: str | None = None, capture: bool = False) -> str:
    """Run a program to its end, and return what it printed where that is wanted.

    Raises:
        SystemExit: it has failed.
    """
    environment: Mapping[str, str] = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=environment, input=text, text=True, check=False,
        stdout=subprocess.PIPE if capture else None,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout or ""


if __name__ == "__main__":
    main(sys.argv[1:])
