"""A job's container has the runner in front of its program, and its last runs in a volume that outlives it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.fake_engine import FakeContainer, FakeEngine

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.workspace_path import use_workspace
from slipway._internal.rollout import health, job
from slipway._internal.rollout.cancellation import CancellationToken, Cancelled
from slipway._internal.rollout.container import ContainerSpec
from slipway._internal.rollout.job import JobRun, create_job_container, end_job, parse_record, read_record
from slipway._internal.run import engine

IMAGE = "127.0.0.1:5000/demo/tick@sha256:" + "a" * 64
URN = "urn:pulumi:dev::demo::slipway:docker:Job::tick"
VOLUME = "demo-dev-tick-job"
RUNS = "/run/slipway/runs/runs.json"
DONE = {"due": "2026-11-30T10:00:00Z", "begin": "2026-11-30T10:00:01Z", "end": "2026-11-30T10:00:03Z", "code": 0}


def spec(**inputs: Any) -> ContainerSpec:
    fixed = {"service": "tick", "stack": "dev", "workspace": "demo", "image": IMAGE, "network": "demo-dev"}
    return ContainerSpec.from_inputs({**fixed, **inputs})


@pytest.fixture
def machine(docker: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """An engine that has the job's image, and a workspace that has the runner."""
    use_workspace(tmp_path)
    runner = tmp_path / ".slipway" / "bin" / "job-runner-amd64"
    runner.parent.mkdir(parents=True)
    runner.write_bytes(b"runner")
    docker.add_image(IMAGE, Entrypoint=["python", "-m"], Cmd=["app"], Healthcheck={"Test": ["CMD", "check"]})
    monkeypatch.setenv("SLIPWAY_LOGS", str(tmp_path / "logs"))
    monkeypatch.setattr(health, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(job, "POLL_SECONDS", 0.01)
    return docker


def make(given: ContainerSpec | None = None) -> FakeContainer:
    made: FakeContainer = create_job_container(
        given or spec(), "0 3 * * *", "demo-dev-tick-1", URN, CancellationToken()
    )
    return made


def test_the_runner_is_there_before_it_starts_and_starts_the_images_program(machine: FakeEngine) -> None:
    seen: list[dict[str, Any]] = []
    machine.on_start = lambda container: seen.append(dict(container.files))
    made = make(spec(secrets={"TOKEN": "open sesame"}, cpus=0.5))
    assert seen[0]["/run/slipway/job-runner"] == (b"runner", 0o555)
    assert seen[0]["/run/slipway/runs"][1] == 0o777
    assert seen[0]["/run/secrets/TOKEN"] == (b"open sesame", 0o400)
    assert made.options["entrypoint"] == ["/run/slipway/job-runner"]
    assert made.options["command"] == ["/run/slipway/runs", "0 3 * * *", "python", "-m", "app"]
    assert made.options["healthcheck"] == {"test": ["NONE"]} and machine.executed == []
    assert made.options["read_only"] is True and made.options["cap_drop"] == ["ALL"]
    assert made.did == ["start", "update"]
    assert made.attrs["HostConfig"]["RestartPolicy"] == {"Name": "always"}
    assert made.attrs["HostConfig"]["cpu_quota"] == 50_000
    assert VOLUME in machine.stored_volumes


def test_a_container_of_its_own_entrypoint_keeps_none_of_the_images_words() -> None:
    image = type("Image", (), {"attrs": {"Config": {"Entrypoint": ["a"], "Cmd": ["b"]}}})()
    assert job._program({"entrypoint": ["x"], "command": ["y"]}, image) == ["x", "y"]
    assert job._program({"entrypoint": ["x"]}, image) == ["x"]
    assert job._program({"command": ["y"]}, image) == ["a", "y"]


def test_an_image_without_a_program_is_refused(machine: FakeEngine) -> None:
    machine.add_image(IMAGE)
    with pytest.raises(SlipwayError, match="names no program"):
        make()
    assert machine.all == {}


def test_a_runner_that_ends_is_told_with_its_words_and_leaves_nothing(machine: FakeEngine) -> None:
    def end(container: FakeContainer) -> None:
        container.log = b'job: exec: "nope": executable file not found in $PATH\n'
        container.end(127)

    machine.on_start = end
    with pytest.raises(SlipwayError, match="service tick failed") as caught:
        make()
    assert "executable file not found" in caught.value.detail
    assert machine.all == {}


def test_a_machine_that_there_is_no_runner_for_is_told(machine: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / ".slipway" / "bin" / "job-runner-amd64").unlink()
    with pytest.raises(SlipwayError, match="amd64") as caught:
        make()
    assert "invoke setup" in caught.value.remedy


def test_the_volume_of_another_is_not_taken(machine: FakeEngine) -> None:
    machine.add_volume(VOLUME, {})
    with pytest.raises(ConfigError, match=VOLUME):
        make()


def test_its_runs_are_read_the_one_under_way_first(machine: FakeEngine) -> None:
    made = make()
    assert read_record(made.id).runs == ()
    running = {"begin": "2026-11-30T10:01:00Z", "by": made.id}
    made.files[RUNS] = (json.dumps({"running": running, "runs": [{**DONE, "code": 3}, DONE]}).encode(), 0o644)
    found = read_record(made.id)
    assert found.runs == (
        JobRun("2026-11-30T10:01:00Z"),
        JobRun("2026-11-30T10:00:01Z", "2026-11-30T10:00:03Z", 3),
        JobRun("2026-11-30T10:00:01Z", "2026-11-30T10:00:03Z", 0),
    )
    assert found.running_in == made.id
    assert read_record("gone") == job.JobRecord()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"runs": [{}]}', '{"running": 1}', '{"runs": 5}', "null"])
def test_what_is_no_record_of_runs_is_none(text: str) -> None:
    assert parse_record(text).runs == ()


def end(machine: FakeEngine, container: FakeContainer, seconds: float = 5.0, **token: Any) -> None:
    end_job(container.id, seconds, token.get("cancellation", CancellationToken()), name=container.name, volume=VOLUME)


def test_one_that_goes_starts_nothing_more_and_its_run_ends_first(machine: FakeEngine) -> None:
    made, polls = make(), 0
    running = {"running": {"begin": "2026-11-30T10:01:00Z", "by": made.id[:12]}}
    made.files[RUNS] = (json.dumps(running).encode(), 0o644)
    plain_get = made.get_archive

    def get_archive(path: str) -> Any:
        nonlocal polls
        polls += 1
        if polls == 3:
            made.files[RUNS] = (json.dumps({"runs": [DONE]}).encode(), 0o644)
        return plain_get(path)

    made.get_archive = get_archive  # type: ignore[method-assign]
    end(machine, made)
    assert polls == 3
    assert made.did[2:] == ["kill SIGUSR1", "stop within 10", "remove"]
    assert machine.all == {} and VOLUME not in machine.stored_volumes


def test_a_run_that_takes_too_long_or_is_anothers_is_not_waited_for(machine: FakeEngine) -> None:
    made = make()
    made.files[RUNS] = (json.dumps({"running": {"begin": "x", "by": made.id[:12]}}).encode(), 0o644)
    end(machine, made, 0.05)
    assert made.did[-1] == "remove"
    other = make()
    other.files[RUNS] = (json.dumps({"running": {"begin": "x", "by": "another"}}).encode(), 0o644)
    end(machine, other, 60.0)
    assert other.did[-1] == "remove"


def test_one_that_is_gone_or_does_not_run_is_only_removed(machine: FakeEngine) -> None:
    made = make()
    made.end(0)
    end(machine, made)
    assert "kill SIGUSR1" not in made.did
    end(machine, made)


def test_an_interrupt_ends_the_waiting(machine: FakeEngine) -> None:
    made, cancellation = make(), CancellationToken()
    made.files[RUNS] = (json.dumps({"running": {"begin": "x", "by": made.id[:12]}}).encode(), 0o644)
    cancellation.cancel()
    with pytest.raises(Cancelled):
        end(machine, made, 60.0, cancellation=cancellation)
    assert engine.is_running(made.id)
