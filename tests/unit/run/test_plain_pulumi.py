"""Plain `pulumi` in a workspace finds the passphrase, knows the stack, and leaves no salt in the stack's file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.conftest import PYTHONPATH

from slipway._internal.run.passphrase import VARIABLES
from slipway._internal.run.plain_pulumi import stack_argument

PLAIN = "config:\n  slipway:images: inline\n"
PULUMI = """#!/bin/sh
echo "$@" >> {root}/asked
[ "$1 $2" = "--non-interactive stack" ] && exit 0
cp "$PULUMI_CONFIG_PASSPHRASE_FILE" {root}/passphrase
echo "encryptionsalt: v1:x" >> {root}/infra/Pulumi.dev.yaml
{then}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Pulumi.yaml").write_text("name: shop\nbackend:\n  url: file://../.slipway/state\n")
    (tmp_path / "infra" / "Pulumi.dev.yaml").write_text(PLAIN)
    (tmp_path / "workspace.toml").touch()
    return tmp_path


def start(root: Path, *words: str, then: str = "exit 7") -> subprocess.Popen[str]:
    program = root / "pulumi"
    program.write_text(PULUMI.format(root=root, then=then))
    program.chmod(0o755)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "slipway._internal.run.plain_pulumi", root, program, *words],
        cwd=root / "infra",
        env={
            **{name: value for name, value in os.environ.items() if name not in VARIABLES},
            "PULUMI_STACK": "",
            "PYTHONPATH": PYTHONPATH,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_stack_is_made_known_before_its_configuration_is_set(root: Path) -> None:
    child = start(root, "config", "set", "--stack", "dev", "build:token")
    output, _ = child.communicate()
    assert child.returncode == 7, output
    assert (root / "asked").read_text().splitlines() == [
        "--non-interactive stack init dev --no-select",
        "config set --stack dev build:token",
    ]
    assert (root / "passphrase").read_text() == (root / ".slipway" / "passphrase").read_text()
    assert (root / "infra" / "Pulumi.dev.yaml").read_text() == PLAIN


def test_a_passphrase_that_is_not_here_is_an_error_with_its_remedy(root: Path) -> None:
    (root / "infra" / "Pulumi.dev.yaml").write_text(f"{PLAIN}  a:b:\n    secure: v1:x\nencryptionsalt: v1:x\n")
    child = start(root, "up", "--stack=dev")
    output, _ = child.communicate()
    assert child.returncode == 2
    assert "Pulumi.dev.yaml" in output and "remedy: " in output and "Traceback" not in output
    assert not (root / "asked").exists()


def test_a_signal_reaches_pulumi_whose_end_is_waited_for(root: Path) -> None:
    child = start(root, "up", then="trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done")
    assert child.stdout
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGTERM)
    child.communicate()
    assert child.returncode == 9
    assert (root / "infra" / "Pulumi.dev.yaml").read_text() == PLAIN


def test_a_signal_that_comes_before_pulumi_is_started_reaches_it_too(root: Path) -> None:
    program = """
        import os, signal, subprocess, sys
        from slipway._internal.run import plain_pulumi
        start = subprocess.Popen
        def signalled(*words, **options):
            os.kill(os.getpid(), signal.SIGTERM)
            return start(*words, **options)
        subprocess.Popen = signalled
        sys.exit(plain_pulumi.run_in_terminal(["sleep", "60"], dict(os.environ)))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env={**os.environ, "PYTHONPATH": PYTHONPATH}, check=False
    )
    assert ended.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("words", "stack"),
    [
        (["config", "set", "--stack", "dev", "x"], "dev"),
        (["config", "-s", "dev"], "dev"),
        (["up", "--stack=prod"], "prod"),
        (["up"], None),
        (["up", "--stack"], None),
    ],
)
def test_the_stack_that_is_meant_is_known(words: list[str], stack: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PULUMI_STACK", raising=False)
    assert stack_argument(words) == stack
