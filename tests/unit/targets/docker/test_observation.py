"""A stack on a Docker engine: what is said of it, what a deploy clears away, and what it never touches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.fake_engine import FakeContainer, FakeEngine, stack_labels

from slipway._internal.context.reporter import NullReporter
from slipway._internal.insight.run_recorder import Recorder
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import load_workspace
from slipway._internal.rollout import gateway, job
from slipway._internal.rollout.job import JobRecord, JobRun
from slipway._internal.run import engine
from slipway._internal.run.owner import FOLDER_LABEL, HOST_LABEL, STATE_LABEL, owner_of
from slipway._internal.targets.docker import containers, observation
from slipway._internal.targets.docker.job_status import JobStatus
from slipway._internal.targets.docker.observation import DockerTarget
from tests import synthetic

STACK = Stack("dev", Path("infra/Pulumi.dev.yaml"), "inline", "docker", protected=False)


class Said(NullReporter):
    """A report that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


class Stage:
    """A stack of two services on an engine in memory, with what its state knows."""

    def __init__(self, root: Path, docker: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.docker, self.root = docker, root
        self.known: set[str] | None = set()
        synthetic.workspace(root, 2)
        (root / "infra" / "Pulumi.yaml").write_text("name: many\nbackend:\n  url: file://../.slipway/state\n")
        self.target = DockerTarget(load_workspace(root), STACK)
        self.owner = owner_of(self.target.workspace.project)
        monkeypatch.setattr(observation, "read_state_ids", lambda *_: self.known)
        monkeypatch.setattr(gateway, "find_gateway_problem", lambda _id: "")

    def add(self, service: str, *, name: str = "", known: bool = True, **labels: str) -> FakeContainer:
        """Add a container of this folder's that runs."""
        all_labels = {**stack_labels(service, "many"), **self.owner.labels, **labels}
        found = self.docker.add_container(
            name or f"many-dev-{service}", labels=all_labels, image=f"many/{service}@sha256:{'a' * 64}"
        )
        if known and self.known is not None:
            self.known.add(found.id)
        return found

    def add_all(self) -> None:
        for service in ("service-000", "service-001", "gateway"):
            self.add(service)

    def status(self) -> dict[str, tuple[str, str]]:
        return {row.service: (row.state, row.drift) for row in self.target.status(dict)}

    def superseded(self) -> list[str]:
        said = Said()
        self.target.remove_superseded(said, lambda: self.known)
        return said.lines


@pytest.fixture
def stage(tmp_path: Path, docker: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    return Stage(tmp_path, docker, monkeypatch)


def test_nothing_is_said_of_a_stack_of_which_nothing_runs(stage: Stage) -> None:
    assert stage.target.status(dict) == []
    with pytest.raises(ConfigError, match="service-000") as caught:
        list(stage.target.logs("service-000", follow=False, tail=10))
    assert "invoke up" in caught.value.remedy


def test_what_runs_as_deployed_has_no_drift(stage: Stage) -> None:
    stage.add_all()
    assert stage.status() == dict.fromkeys(("service-000", "service-001", "gateway"), ("running", ""))


def test_what_is_missing_strayed_or_no_service_any_more_is_told_with_what_mends_it(stage: Stage) -> None:
    stage.add("service-000")
    stage.add("service-000", name="many-dev-stray", known=False)
    stage.add("gone")
    rows = [(row.service, row.state, row.drift) for row in stage.target.status(dict)]
    states = [(service, state) for service, state, _ in rows]
    assert states == [
        *(("service-000", "running"), ("service-000", "running"), ("service-001", "missing")),
        *(("gateway", "missing"), ("gone", "running")),
    ]
    drifts = [drift for *_, drift in rows]
    assert drifts[0] == "" and all("invoke up" in drift for drift in drifts[1:4]) and drifts[4]


def test_a_gateway_that_hangs_is_drift(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.add_all()
    monkeypatch.setattr(gateway, "find_gateway_problem", lambda _id: "it does not answer")
    assert "it does not answer" in stage.status()["gateway"][1]


def test_what_the_engine_found_unhealthy_long_ago_is_asked_again(stage: Stage) -> None:
    stage.add_all()
    container = stage.docker.named("many-dev-service-000")
    container.attrs["Status"] = "Up 2 minutes (unhealthy)"
    container.image.attrs["Config"]["Healthcheck"] = {"Test": ["CMD", "check"]}
    assert stage.status()["service-000"] == ("healthy", "")
    stage.docker.on_exec = lambda *_: (1, "")
    state, drift = stage.status()["service-000"]
    assert state == "unhealthy" and "invoke up" in drift


def test_containers_of_another_folder_are_not_this_stacks(stage: Stage) -> None:
    stage.add_all()
    labels = {STATE_LABEL: "/elsewhere", "slipway.owner": "other", FOLDER_LABEL: "/x", HOST_LABEL: stage.owner.host}
    stage.add("service-001", name="theirs", known=False, **labels)
    assert {name for name, _ in stage.target.running_images()} == {
        "many-dev-service-000",
        "many-dev-service-001",
        "many-dev-gateway",
    }


def test_the_log_is_that_of_the_container_that_serves(stage: Stage) -> None:
    stage.add("service-000").log = b"one\ntwo\n"
    stage.add("service-000", name="many-dev-stray", known=False).log = b"stray\n"
    assert list(stage.target.logs("service-000", follow=False, tail=10)) == ["one", "two"]


def test_each_services_digest_and_health_are_those_of_what_serves(stage: Stage) -> None:
    stage.add("service-000")
    assert stage.target.running_digests() == {"service-000": f"sha256:{'a' * 64}"}
    assert stage.target.service_health(["service-000", "service-001"]) == {
        "service-000": "running",
        "service-001": "missing",
    }


def test_after_a_deploy_what_invoke_dev_made_goes_with_its_image(stage: Stage) -> None:
    stage.add_all()
    made = stage.add("service-000", name="many-dev-made", known=False, **{engine.DEV_LABEL: "true"})
    made.image = stage.docker.add_image("made-by-dev")
    stage.known = None  # so no stray is looked for
    assert stage.superseded() == []
    assert made.did[-1] == "remove"
    assert "made-by-dev" not in stage.docker.stored_images
    assert len(stage.docker.all) == 3


def test_after_a_deploy_strays_go_and_are_named(stage: Stage) -> None:
    stage.add_all()
    stray = stage.add("service-000", name="many-dev-stray", known=False)
    (line,) = stage.superseded()
    assert "many-dev-stray" in line
    assert stray.did[-2:] == [f"stop within {observation.STRAY_GRACE_SECONDS}", "remove"]
    assert len(stage.docker.all) == 3


def test_nothing_goes_where_the_state_cannot_be_read_or_somebody_holds_its_lock(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.add("service-000", known=False)
    stage.known = None
    assert stage.superseded() == []
    stage.known = set()
    monkeypatch.setattr(observation, "list_locks", lambda *_: ["a lock"])
    assert stage.superseded() == []
    assert len(stage.docker.all) == 1


def test_with_a_far_state_only_old_strays_beside_what_serves_go(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation, "local_state_folder", lambda _project: None)
    stage.add("service-000")
    stage.add("service-000", name="many-dev-stray", known=False)
    assert len(stage.superseded()) == 1
    monkeypatch.setattr(containers, "is_stale", lambda _container: False)
    stage.add("service-000", name="many-dev-new", known=False)
    assert stage.superseded() == []


def test_an_interrupted_deploys_leftovers_go_but_not_what_invoke_dev_serves_with(stage: Stage) -> None:
    stage.add("service-000")
    stage.add("service-001", name="many-dev-half", known=False)
    stage.add("service-001", name="many-dev-made", known=False, **{engine.DEV_LABEL: "true"})
    stage.target.remove_orphans(stage.known or ())
    assert {container.name for container in stage.docker.all.values()} == {"many-dev-service-000", "many-dev-made"}
    assert stage.target.may_adopt_existing() is False


def test_after_everything_was_removed_its_networks_are_gone_too(stage: Stage) -> None:
    labels = {**stack_labels("", "many"), **stage.owner.labels}
    ours = stage.docker.networks.create("many-dev", driver="bridge", labels=labels)
    stage.docker.networks.create("bridge", driver="bridge", labels={})
    stage.docker.add_container("many-dev-half", labels=labels, network="many-dev")
    stage.target.wait_deleted(NullReporter())
    assert ours.id not in stage.docker.stored_networks and len(stage.docker.stored_networks) == 1
    assert not stage.docker.all


def test_what_the_provider_waits_for_and_explains_itself_is_left_to_it(stage: Stage) -> None:
    with stage.target.report_progress(NullReporter(), ()):
        assert (stage.target.unfinished_rollouts(), stage.target.drifted_services(dict)) == ([], [])
    problem = SlipwayError("it failed")
    assert stage.target.explain_failure(problem, [], dict, lambda _images: None) is problem


def test_the_record_tells_what_the_start_of_a_container_was_made_of(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = stage.add("service-000")
    stage.add("service-001")
    split: list[tuple[Any, ...]] = []
    recorder = Recorder("deploy")
    monkeypatch.setattr(recorder, "services_with_step", lambda _step: {"service-000"})
    monkeypatch.setattr(recorder, "split_step", lambda *args: split.append(args))
    stage.target.record_starts(recorder)
    ((service, step, parts, (created, started)),) = split
    assert (service, step, len(parts)) == ("service-000", observation.START_STEP, 3)
    assert started - created == 1 and container.attrs["Created"]


def test_the_objects_of_another_folder_are_refused_unless_the_state_knows_them(stage: Stage) -> None:
    labels = {"slipway.owner": "other", STATE_LABEL: "/elsewhere/state", FOLDER_LABEL: "/elsewhere"}
    theirs = stage.add("service-000", known=False, **labels, **{HOST_LABEL: "box/1"})
    with pytest.raises(ConfigError, match="/elsewhere"):
        stage.target.refuse_foreign_objects(lambda: ())
    stage.target.refuse_foreign_objects(lambda: {theirs.id})


class Abandoned:
    """What another folder has left of the stack: a container, a network and a volume."""

    def __init__(self, stage: Stage, state: Path, host: str) -> None:
        owner = replace(stage.owner, id="other", folder=str(state.parent), state=str(state), host=host)
        labels = {**stack_labels("service-000", "many"), **owner.labels}
        self.stage, self.asked = stage, list[str]()
        stage.docker.add_container("theirs", labels=labels, network="many-dev")
        stage.docker.networks.create("many-dev", driver="bridge", labels=labels)
        stage.docker.add_volume("theirs-secrets", labels)

    def remove(self, answer: bool) -> int:
        def consent(question: str) -> bool:
            self.asked.append(question)
            return answer

        return self.stage.target.remove_abandoned(NullReporter(), consent)

    @property
    def left(self) -> int:
        docker = self.stage.docker
        return len(docker.all) + len(docker.stored_networks) + len(docker.stored_volumes)


def test_what_a_folder_that_is_gone_has_left_goes_without_a_question(stage: Stage) -> None:
    stage.add("service-001")
    abandoned = Abandoned(stage, stage.root / "gone" / "state", stage.owner.host)
    assert abandoned.remove(answer=False) == 3
    assert abandoned.asked == []
    assert [container.name for container in stage.docker.all.values()] == ["many-dev-service-001"]
    assert not stage.docker.stored_networks and not stage.docker.stored_volumes


def test_what_a_folder_that_is_there_runs_is_left(stage: Stage) -> None:
    (stage.root / "other" / "state").mkdir(parents=True)
    abandoned = Abandoned(stage, stage.root / "other" / "state", stage.owner.host)
    with pytest.raises(ConfigError, match="theirs"):
        abandoned.remove(answer=True)
    assert abandoned.left == 3


@pytest.mark.parametrize("answer", [True, False])
def test_what_another_machine_has_made_goes_only_if_somebody_says_so(stage: Stage, answer: bool) -> None:
    abandoned = Abandoned(stage, Path("/srv/shop/state"), "box/1")
    if answer:
        assert abandoned.remove(answer=True) == 3
    else:
        with pytest.raises(ConfigError, match="/srv/shop on box"):
            abandoned.remove(answer=False)
    assert abandoned.left == (0 if answer else 3)
    assert len(abandoned.asked) == 1


def job_stage(stage: Stage) -> None:
    """Make the first service a job, and start everything."""
    path = stage.root / "services" / "service-000" / "service.toml"
    kept = [
        line
        for line in path.read_text().splitlines()
        if not line.startswith(("route", "port", "health", "[scale]", "min", "max"))
    ]
    path.write_text("\n".join([*kept, "[job]", 'schedule = "@daily"', ""]))
    stage.target = DockerTarget(load_workspace(stage.root), STACK)
    stage.add_all()


@pytest.mark.parametrize(
    ("runs", "state", "said"),
    [
        ((), "scheduled", "scheduled[/] (never ran)"),
        ((JobRun("2026-11-30T10:00:01Z", "2026-11-30T10:00:03Z", 0),), "scheduled", "the last run succeeded"),
        ((JobRun("2026-11-30T10:00:01Z", "2026-11-30T10:00:03Z", 3),), "failing", "failed with exit code 3"),
        (
            (JobRun("2026-11-30T10:00:01Z"), JobRun("2026-11-30T09:00:01Z", "2026-11-30T09:00:03Z", 3)),
            "failing",
            "runs since",
        ),
        ((JobRun("nonsense", "nonsense", 0),), "scheduled", "some time ago"),
    ],
)
def test_a_jobs_last_runs_are_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, runs: tuple[JobRun, ...], state: str, said: str
) -> None:
    monkeypatch.setattr(job, "read_record", lambda _id: JobRecord(runs))
    job_stage(stage)
    row = stage.target.status(dict)[0]
    assert isinstance(row, JobStatus)
    assert (row.service, row.state, row.drift) == ("service-000", state, "")
    assert said in row.coloured_state
    assert [run["code"] for run in row.as_dict()["runs"]] == [run.code for run in runs]
    assert stage.target.service_health(["service-000", "service-001"]) == {
        "service-000": "scheduled",
        "service-001": "running",
    }


def test_a_job_that_does_not_run_is_drift(stage: Stage) -> None:
    job_stage(stage)
    stage.docker.named("many-dev-service-000").end(1)
    assert stage.status()["service-000"][0] == "exited" and "invoke up" in stage.status()["service-000"][1]


def test_a_canary_has_a_row_of_its_own_with_its_share_and_counts_as_none_of_the_services(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.add_all()
    urn = "urn:pulumi:dev::many::slipway:docker:Container::service-000.canary"
    canary = stage.add("service-000", name="many-dev-service-000-canary-1", **{engine.URN_LABEL: urn})
    monkeypatch.setattr(observation, "_canary_shares", lambda _: {"service-000": 10})
    rows = stage.status()
    assert "gets 10 % of requests" in rows["service-000.canary"][1]
    assert rows["service-000"][1] == ""
    assert stage.target.running_digests().keys() == {"service-000", "service-001", "gateway"}
    assert stage.superseded() == []
    assert stage.known is not None
    stage.known.discard(canary.id)
    assert "a stray" in stage.status()["service-000.canary"][1]
