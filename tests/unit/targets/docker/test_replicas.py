"""A service with several containers: what is declared of it, how it is seen, and how its logs are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.fake_engine import FakeContainer, FakeEngine
from tests.unit.targets.docker.test_observation import STACK, Stage, stage
from tests.unit.targets.kubernetes.conftest import change, root, settings
from tests.unit.targets.kubernetes.declared import declare

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import load_workspace
from slipway._internal.run import engine
from slipway._internal.run.engine import ContainerSummary
from slipway._internal.targets.docker import commands, containers, logs
from slipway._internal.targets.docker.observation import DockerTarget
from slipway._internal.targets.docker.replica_status import ReplicasStatus

__all__ = ["root", "stage"]
SERVICE = "service-000"


def urn(name: str, stack: str = "dev") -> dict[str, str]:
    return {engine.URN_LABEL: f"urn:pulumi:{stack}::many::slipway:docker:Container::{name}"}


@pytest.fixture
def scaled(stage: Stage) -> Stage:
    """A stage whose first service has three containers, the last of which was made first."""
    path = stage.root / "services" / SERVICE / "service.toml"
    path.write_text(f"{path.read_text()}\n[scale]\nmin = 3\n")
    stage.target = DockerTarget(load_workspace(stage.root), STACK)
    for number in (3, 1, 2):
        name = SERVICE if number == 1 else f"{SERVICE}.{number}"
        stage.add(SERVICE, name=f"many-dev-{number}", **urn(name))
    stage.add("service-001")
    stage.add("gateway", **urn("dev"))
    return stage


def test_containers_are_declared_one_after_the_other_and_share_the_first_ones_name(root: Path) -> None:
    settings(root, "target: docker")
    change(root, "api", "", "[scale]\nmin = 3")
    found = declare(root)
    assert sorted(name for kind, name in found.objects if kind == "Container") == [
        *("api", "api.2", "api.3", "web", "worker")
    ]
    assert ("Container", "api") in found.after["Container", "api.2"]
    assert ("Container", "api.2") in found.after["Container", "api.3"]
    assert {("Container", "api.2"), ("Container", "api.3")} <= found.after["Gateway", "dev"]
    assert {found["Container", name]["service"] for name in ("api", "api.2", "api.3")} == {"api"}
    assert "group" not in found["Container", "api"]
    single = declare(root, single=True)
    assert sorted(name for kind, name in single.objects if kind == "Container") == ["api", "web", "worker"]


def test_the_name_in_the_state_says_which_container_it_is() -> None:
    def summary(service: str, **labels: str) -> ContainerSummary:
        return ContainerSummary("c", "n", service, "i", "running", "", "", 0, labels=labels)

    assert (summary("api", **urn("api")).resource, summary("api", **urn("api")).replica) == ("api", 1)
    assert (summary("api", **urn("api.2")).resource, summary("api", **urn("api.2")).replica) == ("api.2", 2)
    assert summary("gateway", **urn("dev")).resource == "gateway"
    assert (summary("api-2").resource, summary("api-2").replica) == ("api-2", 1)


def test_all_that_serve_are_one_row_in_the_order_of_their_numbers(scaled: Stage) -> None:
    row = scaled.target.status(dict)[0]
    assert isinstance(row, ReplicasStatus)
    assert (row.service, row.state, row.ready, row.replicas, row.drift) == (SERVICE, "running", 3, 3, "")
    assert "(3 of 3)" in row.coloured_state and row.as_dict()["ready"] == 3
    assert [container.name for container in scaled.target._find_replicas(SERVICE)] == [
        *("many-dev-1", "many-dev-2", "many-dev-3")
    ]
    assert scaled.target.service_health([SERVICE]) == {SERVICE: "running"}
    assert scaled.target.running_digests()[SERVICE] == f"sha256:{'a' * 64}"


def test_one_that_has_ended_or_is_gone_is_told(scaled: Stage) -> None:
    scaled.docker.named("many-dev-2").end(137)
    row = scaled.target.status(dict)[0]
    assert isinstance(row, ReplicasStatus)
    assert (row.state, row.ready, row.replicas) == ("exited", 2, 3)
    assert row.drift.startswith(f"{SERVICE}.2: it is exited") and "invoke up" in row.drift
    assert scaled.target.service_health([SERVICE]) == {SERVICE: "exited"}
    scaled.docker.named("many-dev-2").remove()
    row = scaled.target.status(dict)[0]
    assert isinstance(row, ReplicasStatus)
    assert (row.state, row.ready, row.replicas) == ("running", 2, 3)
    assert "1 of its containers not there" in row.drift
    assert scaled.target.service_health([SERVICE]) == {SERVICE: "2 of 3"}


def test_where_the_state_cannot_be_read_none_of_them_is_a_stray(scaled: Stage) -> None:
    scaled.known = None
    rows = [row for row in scaled.target.status(dict) if row.service == SERVICE]
    assert [row.drift for row in rows] == [""]


def test_an_old_one_of_a_number_is_a_stray_and_what_invoke_dev_made_serves_alone(scaled: Stage) -> None:
    scaled.add(SERVICE, name="many-dev-old", known=False, **urn(f"{SERVICE}.2"))
    assert [row.drift[:8] for row in scaled.target.status(dict) if row.service == SERVICE] == ["", "a stray,"]
    for number in (2, 3):
        scaled.docker.named(f"many-dev-{number}").remove()
    scaled.docker.named("many-dev-old").remove()
    scaled.add(SERVICE, name="many-dev-made", known=False, **urn(SERVICE), **{engine.DEV_LABEL: "true"})
    [row] = [row for row in scaled.target.status(dict) if row.service == SERVICE]
    assert row.drift.startswith("made by `invoke dev`")


def test_a_command_goes_to_the_first_that_runs(scaled: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for verb in ("exec_command", "run_command"):
        monkeypatch.setattr(commands, verb, lambda container, _words: asked.append(container.name) or 0)
    scaled.target.exec_command(SERVICE, ["true"])
    scaled.docker.named("many-dev-1").end(1)
    scaled.target.run_command(SERVICE, ["true"])
    assert asked == ["many-dev-1", "many-dev-2"]


@pytest.mark.parametrize("follow", [False, True])
def test_the_lines_of_each_log_have_their_containers_name(scaled: Stage, follow: bool) -> None:
    for number in (1, 2, 3):
        scaled.docker.named(f"many-dev-{number}").log = f"hello {number}\n".encode()
    lines = list(scaled.target.logs(SERVICE, follow=follow, tail=10))
    assert sorted(lines) == [f"[{SERVICE}.2] hello 2", f"[{SERVICE}.3] hello 3", f"[{SERVICE}] hello 1"]
    scaled.docker.named("many-dev-service-001").log = b"alone\n"
    assert list(scaled.target.logs("service-001", follow=follow, tail=10)) == ["alone"]


def test_an_engine_that_is_lost_while_logs_are_followed_is_told(scaled: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_args: object, **_options: object) -> list[str]:
        raise SlipwayError("the engine does not answer")

    found = scaled.target._find_replicas(SERVICE)
    monkeypatch.setattr(engine, "read_logs", lost)
    with pytest.raises(SlipwayError, match="does not answer"):
        list(logs.read_replica_logs(found, tail=1, follow=True))


def test_of_several_with_one_number_the_newest_in_the_state_serves(docker: FakeEngine) -> None:
    def add(name: str, resource: str) -> FakeContainer:
        return docker.add_container(name, service="api", labels=urn(resource))

    made = [add("one", "api"), add("two", "api.2"), add("newer", "api")]
    found = engine.list_containers("demo", "dev")
    serving, strays = containers.select_replicas(found, {made[1].id, made[2].id})
    assert ([each.name for each in serving], [each.name for each in strays]) == (["newer", "two"], ["one"])
