"""How containers and gateways come up on an engine, and that nothing of a failed one stays behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.fake_engine import GATEWAY_ENTRYPOINT, FakeContainer, FakeEngine, refusal, stack_labels
from tests.unit.provider.test_gateway import INPUTS as GATEWAY_INPUTS

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.workspace_path import use_workspace
from slipway._internal.rollout import envoy, health
from slipway._internal.rollout.cancellation import CancellationToken, Cancelled
from slipway._internal.rollout.container import ContainerSpec, DevOverlay, create_healthy_container
from slipway._internal.rollout.container_files import build_archive, resolve_owner
from slipway._internal.rollout.gateway import GatewaySpec, create_gateway, find_gateway_problem
from slipway._internal.rollout.images import pull_image, use_pull_config
from slipway._internal.rollout.reachability import ContainerAddress
from slipway._internal.run import engine, ports

IMAGE = "127.0.0.1:5000/demo/api@sha256:" + "a" * 64
URN = "urn:pulumi:dev::demo::slipway:docker:Container::api"
NAME = "demo-dev-api-1"
GATEWAY = GatewaySpec.from_inputs(GATEWAY_INPUTS)
CHECK = {"Test": ["CMD", "check"], "Timeout": 1_000_000_000}


def spec(**inputs: Any) -> ContainerSpec:
    fixed = {"service": "api", "stack": "dev", "workspace": "demo", "image": IMAGE, "network": "demo-dev"}
    return ContainerSpec.from_inputs({**fixed, **inputs})


@pytest.fixture
def machine(docker: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """An engine that has the service's image, whose port answers, and a registry that has the gateway's."""
    use_workspace(tmp_path)
    use_pull_config(None)
    docker.add_image(IMAGE, Healthcheck=CHECK)
    docker.add_image(GATEWAY.image, pulled=False, Entrypoint=GATEWAY_ENTRYPOINT)
    monkeypatch.setenv("SLIPWAY_LOGS", str(tmp_path / "logs"))
    monkeypatch.setattr(ContainerAddress, "is_local", True)
    monkeypatch.setattr(ContainerAddress, "probe_port", lambda *_: "open")
    monkeypatch.setattr(ports, "find_port_holder", lambda _port: "")
    return docker


def test_a_container_is_checked_and_only_then_brought_back_by_the_engine(machine: FakeEngine) -> None:
    made = create_healthy_container(spec(port=8000, cpus=0.5), NAME, URN, CancellationToken())
    assert machine.executed == [["check"]]
    assert made.did == ["start", "update"]
    assert made.attrs["HostConfig"]["RestartPolicy"] == {"Name": "always"}
    assert made.attrs["HostConfig"]["cpu_quota"] == 50_000


def test_secrets_are_there_before_its_program_and_are_its_users_alone(machine: FakeEngine) -> None:
    seen: list[dict[str, Any]] = []
    machine.on_start = lambda container: seen.append(dict(container.files))
    create_healthy_container(spec(secrets={"TOKEN": "open sesame"}, healthTimeout=1), NAME, URN, CancellationToken())
    assert seen == [{"/run/secrets/TOKEN": (b"open sesame", 0o400)}]
    assert list(machine.stored_volumes) == [f"{NAME}-secrets"]


def test_what_invoke_dev_makes_has_its_folders_and_is_known_by_a_label(machine: FakeEngine) -> None:
    archive = build_archive({"main.py": "pass"}, owner=resolve_owner(None, "65532"), mode=0o444)
    made = create_healthy_container(spec(), NAME, URN, CancellationToken(), DevOverlay({"/app/src": archive}))
    assert made.text("/app/src/main.py") == "pass"
    assert engine.DEV_LABEL in made.labels


def test_one_that_ends_is_removed_and_its_last_lines_are_told_without_secrets(
    machine: FakeEngine, tmp_path: Path
) -> None:
    def crash(container: FakeContainer) -> None:
        container.log = b"Traceback\nbad token: open sesame\n"
        container.end(3)

    machine.on_start = crash
    with pytest.raises(SlipwayError, match="api") as caught:
        create_healthy_container(spec(secrets={"TOKEN": "open sesame"}), NAME, URN, CancellationToken())
    assert "3" in caught.value.message
    assert "bad token: " in caught.value.detail and "open sesame" not in caught.value.detail
    assert caught.value.log == tmp_path / "logs" / f"{NAME}.log" and "Traceback" in caught.value.log.read_text()
    assert not machine.all and not machine.stored_volumes


def test_a_name_that_somebody_elses_container_has_is_refused_and_left(machine: FakeEngine) -> None:
    other = machine.add_container(NAME, labels={engine.WORKSPACE_LABEL: "shop", engine.STACK_LABEL: "qa"})
    with pytest.raises(ConfigError, match=NAME) as caught:
        create_healthy_container(spec(), NAME, URN, CancellationToken())
    assert "shop" in caught.value.message and "qa" in caught.value.message
    assert machine.named(NAME) is other


def test_an_image_that_cannot_be_pulled_makes_no_container(machine: FakeEngine) -> None:
    del machine.stored_images[IMAGE]
    with pytest.raises(SlipwayError, match="manifest unknown") as caught:
        create_healthy_container(spec(), NAME, URN, CancellationToken())
    assert IMAGE in caught.value.message and "docker login 127.0.0.1:5000" in caught.value.remedy
    assert not machine.all


def test_an_image_is_pulled_once(machine: FakeEngine) -> None:
    assert pull_image(GATEWAY.image, CancellationToken()).ref == GATEWAY.image
    del machine.registry[GATEWAY.image]
    assert pull_image(GATEWAY.image, CancellationToken()).ref == GATEWAY.image


def test_a_registry_that_refuses_is_told_with_the_image(machine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_options: Any) -> Any:
        raise refusal(500, "unauthorized")

    monkeypatch.setattr(machine, "pull", refuse)
    with pytest.raises(SlipwayError, match="unauthorized") as caught:
        pull_image(GATEWAY.image, CancellationToken())
    assert GATEWAY.image in caught.value.message


def test_an_interrupt_ends_a_pull(machine: FakeEngine) -> None:
    stop = CancellationToken()
    stop.cancel()
    with pytest.raises(Cancelled):
        pull_image(GATEWAY.image, stop)


def test_a_gateway_serves_its_routes_and_is_brought_back_by_the_engine(machine: FakeEngine) -> None:
    made, image = create_gateway(GATEWAY, URN, CancellationToken())
    assert image.ref == GATEWAY.image
    assert envoy.read_live_config(made) == GATEWAY.config
    assert made.attrs["HostConfig"]["RestartPolicy"] == {"Name": "always"}
    assert made.attrs["NetworkSettings"]["Ports"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}


def test_the_gateway_of_a_killed_deploy_is_replaced(machine: FakeEngine) -> None:
    first, _ = create_gateway(GATEWAY, URN, CancellationToken())
    second, _ = create_gateway(GATEWAY, URN, CancellationToken())
    assert list(machine.all.values()) == [second] and first.did[-1] == "remove"


@pytest.mark.parametrize("thing", ["container", "volume"])
def test_somebody_elses_thing_with_the_gateways_name_is_left_as_it_is(machine: FakeEngine, thing: str) -> None:
    labels = {**stack_labels("gateway"), engine.URN_LABEL: "urn:pulumi:dev::other::x::y"}
    if thing == "container":
        machine.add_container(GATEWAY.name, labels=labels)
    else:
        machine.add_volume(f"{GATEWAY.name}-config", labels)
    with pytest.raises(ConfigError, match=GATEWAY.name) as caught:
        create_gateway(GATEWAY, URN, CancellationToken())
    assert thing in caught.value.message
    assert len(machine.all) == (thing == "container")
    assert len(machine.stored_volumes) == (thing == "volume")


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        ("bind: cannot assign requested address", "bind"),
        ("Bind for 127.0.0.1:8080 failed: port is already allocated", "8080"),
        ("listen tcp4 127.0.0.1:8080: bind: address already in use", "8080"),
    ],
)
def test_a_gateway_that_cannot_listen_says_which_setting_helps_and_is_removed(
    machine: FakeEngine, refused: str, said: str
) -> None:
    def refuse(_container: FakeContainer) -> None:
        raise refusal(500, refused)

    machine.on_start = refuse
    with pytest.raises(SlipwayError, match=r"127\.0\.0\.1") as caught:
        create_gateway(GATEWAY, URN, CancellationToken())
    assert said in caught.value.remedy + caught.value.message
    assert not machine.all and not machine.stored_volumes


def test_a_gateway_that_serves_has_no_problem(machine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(ports, "answers_http", lambda endpoint: asked.append(endpoint) or True)
    made, _ = create_gateway(GATEWAY, URN, CancellationToken())
    assert find_gateway_problem(made.id) == ""
    assert asked == ["127.0.0.1:8080"]
    assert find_gateway_problem("gone") == ""


def test_a_gateway_that_hangs_is_told_why(machine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "answers_http", lambda _endpoint: False)
    made, _ = create_gateway(GATEWAY, URN, CancellationToken())
    assert "answer" in find_gateway_problem(made.id)
    made.processes["10"] = ("T", "control run envoy")
    assert "stopped" in find_gateway_problem(made.id)


def test_without_a_health_check_a_container_must_stay_up(machine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "SETTLE_SECONDS", 0.0)
    machine.add_image(IMAGE)
    made = create_healthy_container(spec(), NAME, URN, CancellationToken())
    assert machine.executed == [] and made.did == ["start", "update"]


def test_a_further_container_of_a_service_has_the_first_ones_name_on_the_network(machine: FakeEngine) -> None:
    made = create_healthy_container(spec(group="demo-dev-api-first", port=80), NAME, URN, CancellationToken())
    [endpoint] = made.options["networking_config"].values()
    assert endpoint["Aliases"] == ["api", "demo-dev-api-first"] and made.options["network"] == "demo-dev"
    alone = create_healthy_container(spec(port=80), "demo-dev-api-2", URN, CancellationToken())
    [endpoint] = alone.options["networking_config"].values()
    assert endpoint["Aliases"] == ["api"]
