"""A user's own command: in a service's running container (`exec`), and beside it in one of its own (`run`)."""

from __future__ import annotations

import os
import signal

import pytest
from tests.e2e.terminal import record
from tests.e2e.workspace import UP_SECONDS, Workspace, wait_until
from tests.own_python import lend

from slipway._internal.run import engine

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

ECHO = "import sys; print(sys.argv[1:]); print(sys.stdin.read().upper()); print('oops', file=sys.stderr); sys.exit(7)"
SLEEP = ("run", "worker", "--", "python", "-c", "import time; print('here', flush=True); time.sleep({})")


def running_commands(workspace: Workspace) -> list[str]:
    """Return the containers that the engine has for commands of `invoke run`."""
    labels = [*engine.label_filters(workspace.root.name, "dev"), engine.COMMAND_LABEL]
    return [each["Id"] for each in engine.client().api.containers(all=True, filters={"label": labels})]


@pytest.mark.parametrize("verb", ["exec", "run"])
def test_words_input_both_outputs_and_the_exit_code_go_through(deployed: Workspace, verb: str) -> None:
    ran = deployed.piped(verb, "api", "--", "python", "-c", ECHO, "two  words", "--stack", "", stdin="hello\n")
    assert (ran.code, ran.stdout, ran.stderr) == (7, "['two  words', '--stack', '']\nHELLO\n\n", "oops\n")


def test_a_large_input_comes_back_whole(deployed: Workspace) -> None:
    text = "0123456789abcdef" * 200_000
    ran = deployed.piped("run", "api", "--", "python", "-c", "import sys; print(sys.stdin.read())", stdin=text)
    assert (ran.code, ran.stdout == f"{text}\n") == (0, True)


@pytest.mark.parametrize("verb", ["exec", "run"])
def test_in_a_terminal_the_command_has_a_terminal_of_the_same_size(deployed: Workspace, verb: str) -> None:
    show = (  # a new container hears of the size when it has started
        "import os, time\nwhile os.get_terminal_size().columns != 100: time.sleep(0.1)\n"
        "print(os.isatty(0), os.isatty(1)); print(os.get_terminal_size())"
    )
    words = [str(lend(deployed.root)), "-m", "invoke", verb, "api", "--", "python", "-c", show]
    shown = record(verb, words, deployed.root, {**os.environ, **deployed.environment}, UP_SECONDS)
    assert shown.code == 0, shown.text
    assert "True True" in shown.text and "os.terminal_size(columns=100, lines=40)" in shown.text


def test_a_command_beside_a_service_has_its_image_environment_and_network(deployed: Workspace) -> None:
    ask = "import os, urllib.request as r; print(r.urlopen(os.environ['API_URL'] + '/items').status, os.getuid())"
    ids = deployed.ids()
    ran = deployed.invoke("run", "worker", "--", "python", "-c", ask)
    assert (ran.code, ran.stdout) == (0, "200 65532\n"), ran.output
    assert running_commands(deployed) == []
    assert deployed.ids() == ids


def test_a_command_is_no_service_and_ctrl_c_ends_it_with_all_that_was_made_for_it(deployed: Workspace) -> None:
    """Status, a deploy and its clean-up leave a command alone that somebody runs; Ctrl-C leaves nothing of it."""
    before = deployed.invoke("status", "--json").json()
    child = deployed.start(*(word.format(600) for word in SLEEP))
    assert child.stdout and child.stdout.readline() == "here\n"
    [command] = running_commands(deployed)
    inspected = engine.client().api.inspect_container(command)
    assert (inspected["HostConfig"]["CpuQuota"], inspected["HostConfig"]["ReadonlyRootfs"]) == (50_000, True)
    volumes = {each["Name"] for each in inspected["Mounts"] if "Name" in each}
    assert [(row["service"], row["drift"]) for row in deployed.invoke("status", "--json").json()] == [
        (row["service"], row["drift"]) for row in before
    ]
    deployed.env("api", "HARBOUR", "Kiel")
    deployed.up("--yes")
    assert running_commands(deployed) == [command]
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=UP_SECONDS)
    assert child.returncode == 130
    assert running_commands(deployed) == []
    assert volumes.isdisjoint(each.name for each in engine.client().volumes.list())


def test_a_command_whose_caller_was_killed_ends_and_leaves_nothing(deployed: Workspace) -> None:
    child = deployed.start(*(word.format(2) for word in SLEEP))
    assert child.stdout and child.stdout.readline() == "here\n"
    child.kill()
    child.communicate(timeout=UP_SECONDS)
    wait_until(lambda: running_commands(deployed) == [], "the command has ended")


def test_down_ends_a_command_too(deployed: Workspace) -> None:
    """What holds on to the stack's network may not keep it from being removed."""
    child = deployed.start(*(word.format(600) for word in SLEEP))
    assert child.stdout and child.stdout.readline() == "here\n"
    down = deployed.invoke("down", "--yes")
    assert down.code == 0, down.output
    child.communicate(timeout=UP_SECONDS)
    assert child.returncode not in (0, None)
    assert running_commands(deployed) == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("exec", "api"), ["no command", "invoke exec api --stack dev -- COMMAND"]),
        (("run", "api", "--"), ["no command", "invoke run api --stack dev -- COMMAND"]),
        (("exec", "nope", "--", "true"), ["nope", "api, web, worker"]),
        (("run", "api", "--stack", "staging", "--", "true"), ["does not run in staging", "invoke status"]),
        (("run", "api", "--stack", "nope", "--", "true"), ["nope"]),
    ],
)
def test_what_cannot_be_run_is_said(deployed: Workspace, words: tuple[str, ...], named: list[str]) -> None:
    ran = deployed.invoke(*words)
    assert ran.code == 2, ran.output
    assert all(word in ran.output for word in named), ran.output


def test_a_program_that_the_image_lacks_is_named(deployed: Workspace) -> None:
    for verb in ("exec", "run"):
        ran = deployed.invoke(verb, "api", "--", "no-such-program")
        assert ran.code in (126, 127), ran.output
        assert "no-such-program" in ran.output
