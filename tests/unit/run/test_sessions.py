"""What a program in a session of its own has started is found and ended, however it groups its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from pulumi.automation import CommandError

from slipway._internal.model import scratch
from slipway._internal.run import pulumi_command
from slipway._internal.run.process import run
from slipway._internal.run.process_status import read_start_time
from slipway._internal.run.pulumi_command import PulumiCli
from slipway._internal.run.sessions import (
    end_orphaned_sessions,
    end_processes,
    program_name,
    session_processes,
)

STARTS_A_GROUP = """
import os, subprocess, sys
child = subprocess.Popen(
    ["/x/plugin", "-c", {child!r}], executable=sys.executable, process_group=0, stdout=subprocess.PIPE
)
child.stdout.readline()
print(child.pid, flush=True)
{parent}
"""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
HEARS = "import signal; print(flush=True); signal.pause()"


def started(child: str, parent: str = "child.wait()", mark: str = "1-dead") -> tuple[subprocess.Popen[str], int]:
    program = STARTS_A_GROUP.format(child=child, parent=parent)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, scratch.PROCESS_VARIABLE: mark},
    )
    assert process.stdout
    return process, int(process.stdout.readline())


@pytest.mark.parametrize(("child", "seconds"), [(HEARS, 60.0), (DEAF, 0.2), (DEAF, 0.0)])
def test_a_process_of_another_group_is_found_and_ended(child: str, seconds: float) -> None:
    leader, pid = started(child)
    assert set(session_processes(leader.pid)) == {leader.pid, pid}
    assert program_name(pid) == "plugin"
    end_processes([pid], seconds)
    assert leader.wait(60) == 0
    assert session_processes(leader.pid) == []
    assert program_name(pid) == ""


def test_a_plugin_is_ended_and_pulumi_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, pid = started(DEAF, "print(child.wait(), flush=True)")
    monkeypatch.setattr(pulumi_command, "_running", {leader})
    monkeypatch.setattr(pulumi_command, "PLUGIN_SECONDS", 0.2)
    pulumi_command.end_plugin("another")
    assert pid in session_processes(leader.pid)
    pulumi_command.end_plugin("plugin")
    assert leader.stdout
    assert leader.stdout.readline() == f"{-signal.SIGKILL}\n"
    assert leader.wait(60) == 0


STUBBORN = f"""
import signal, sys
signal.signal(signal.SIGINT, lambda *_: print("asked", flush=True))
{STARTS_A_GROUP.format(child=DEAF, parent="").strip()}
while True:
    signal.pause()
"""


def test_a_pulumi_that_does_not_end_when_it_is_asked_is_ended_with_its_plugins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pulumi_command, "INTERRUPT_SECONDS", 0.2)
    monkeypatch.setattr(pulumi_command, "PLUGIN_SECONDS", 0.2)
    command = PulumiCli(Path(sys.executable), tmp_path / ".slipway")
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        if line.isdigit():
            os.kill(os.getpid(), signal.SIGTERM)

    popen = subprocess.Popen

    def stubborn(*_args: object, **options: object) -> object:
        return popen([sys.executable, "-c", STUBBORN], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(pulumi_command.subprocess, "Popen", stubborn)
    with pytest.raises(KeyboardInterrupt):
        command.run([], str(tmp_path), {}, on_output=hear)
    assert "asked" in said
    plugin = next(int(line) for line in said if line.isdigit())
    assert program_name(plugin) == ""


def test_what_is_left_of_a_killed_commands_program_is_ended_at_the_next_start(tmp_path: Path) -> None:
    leader, pid = started(HEARS)
    scratch.prepare(tmp_path / ".slipway")
    folder = tmp_path / ".slipway" / "tmp" / "1-dead"
    folder.mkdir(parents=True)
    (folder / f"session-{leader.pid}").write_text(read_start_time(leader.pid))
    leader.kill()
    leader.wait(60)
    assert program_name(pid) == "plugin", "it has outlived who started it"
    scratch.prepare(tmp_path / ".slipway", end_orphaned_sessions)
    assert session_processes(leader.pid) == []
    assert program_name(pid) == ""
    assert not folder.exists()


@pytest.mark.parametrize("began", ["", "another boot:1", f"{read_start_time(os.getpid()).partition(':')[0]}:1"])
def test_a_number_that_was_given_again_is_left_alone(began: str) -> None:
    leader, pid = started(HEARS)
    end_orphaned_sessions({leader.pid: began}, "1-dead", 0.0)
    assert program_name(pid) == "plugin"
    end_orphaned_sessions({leader.pid: read_start_time(leader.pid)}, "1-dead", 0.0)
    leader.wait(60)


def test_a_session_of_the_same_number_whose_leader_has_ended_as_well_is_left_alone() -> None:
    leader, pid = started(HEARS, mark="2-another")
    began = read_start_time(leader.pid)
    leader.kill()
    leader.wait(60)
    end_orphaned_sessions({leader.pid: began}, "1-dead", 0.0)
    assert program_name(pid) == "plugin"
    end_orphaned_sessions({leader.pid: began}, "2-another")
    assert program_name(pid) == ""


def test_what_a_process_with_a_folder_starts_can_be_told_by_it(tmp_path: Path) -> None:
    folder = scratch.process_folder(tmp_path / ".slipway")
    said = run([sys.executable, "-c", f"import os; print(os.environ[{scratch.PROCESS_VARIABLE!r}])"])
    assert said.output.strip() == folder.name


def test_a_program_that_is_under_way_is_noted_and_then_no_more(tmp_path: Path) -> None:
    notes = scratch.process_folder(tmp_path / ".slipway")
    seen: list[list[str]] = []
    run([sys.executable, "-c", "print(1)"], on_line=lambda _: seen.append([each.name for each in notes.iterdir()]))
    assert [name.partition("-")[0] for name in sorted(seen[0])] == ["lock", "session"]
    assert [each.name for each in notes.iterdir()] == ["lock"]


def test_plugins_of_a_pulumi_that_was_killed_are_ended(tmp_path: Path) -> None:
    program = tmp_path / "pulumi"
    text = STARTS_A_GROUP.format(child=HEARS, parent="import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    program.write_text(f"#!{sys.executable}\n{text}")
    program.chmod(0o755)
    printed: list[str] = []
    with pytest.raises(CommandError):
        PulumiCli(program, tmp_path / ".slipway").run([], str(tmp_path), {}, on_output=printed.append)
    assert program_name(int(printed[0])) == ""


def test_what_pulumi_and_its_plugins_leave_in_their_temporary_folder_goes(tmp_path: Path) -> None:
    program = tmp_path / "pulumi"
    text = "import os, tempfile; folder = tempfile.gettempdir(); print(folder); print(oct(os.stat(folder).st_mode))"
    program.write_text(f"#!{sys.executable}\n{text}; os.close(tempfile.mkstemp()[0])\n")
    program.chmod(0o755)
    printed: list[str] = []
    PulumiCli(program, tmp_path / ".slipway").run([], str(tmp_path), {}, on_output=printed.append)
    folder, mode = printed
    assert Path(folder).is_relative_to(tmp_path / ".slipway" / "tmp") and mode == "0o40700"
    assert not Path(folder).exists()
    (tmp_path / "file").write_text("")
    PulumiCli(program, tmp_path / "file").run([], str(tmp_path), {}, on_output=printed.append)  # none can be made there
    assert printed[2] == tempfile.gettempdir()
