"""A service's container is replaced behind the gateway: the new one serves once it is healthy, and not before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.fake_engine import FakeContainer, FakeEngine, stack_labels

from slipway._internal.commands.envoy import Route, render_config
from slipway._internal.dev.swap import ContainerSwapper, ReplacedContainer, SwapRequest
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace_path import use_workspace
from slipway._internal.rollout import desired, envoy, health
from slipway._internal.rollout.container_files import ROOT_OWNER, build_archive
from slipway._internal.rollout.reachability import ContainerAddress
from slipway._internal.run import engine

CONFIG = "/etc/slipway"
OLD_IMAGE, NEW_IMAGE = "demo/api@sha256:old", "demo/api@sha256:new"


class Stage:
    """A stack of which `api` serves behind a gateway, as Pulumi deployed it, and the image of another one."""

    def __init__(self, docker: FakeEngine) -> None:
        self.docker = docker
        self.swapper = ContainerSwapper("demo", "dev")
        self.healthy: list[str] = []
        for name in (OLD_IMAGE, NEW_IMAGE):
            docker.add_image(name, Healthcheck={"Test": ["CMD", "check"]})
        self.gateway = docker.add_container("demo-dev-gateway", service="gateway", entrypoint=["control"])
        self.old = docker.add_container("demo-dev-api-old", service="api", image=OLD_IMAGE, network="demo-dev")
        self.deployed_config = self.config("demo-dev-api-old:8000")
        for name, text in self.deployed_config.items():
            self.gateway.files[f"{CONFIG}/{name}"] = (text.encode(), 0o444)
        for service, port in (("api", {"port": 8000}), ("worker", {})):
            inputs = {"service": service, "stack": "dev", "workspace": "demo", "image": OLD_IMAGE, **port}
            urn = f"urn:pulumi:dev::demo::{desired.CONTAINER_TYPE}::{service}"
            desired.note_desired_container(urn, {**inputs, "network": "demo-dev", "drainSeconds": 20})

    @staticmethod
    def config(upstream: str) -> dict[str, str]:
        return render_config([Route("api", "/api", upstream)])

    @property
    def live_config(self) -> dict[str, str]:
        return envoy.read_live_config(self.gateway)

    def request(self, service: str = "api", **folders: bytes) -> SwapRequest:
        replaced = ReplacedContainer(self.old.id, self.old.name, False, OLD_IMAGE)
        return SwapRequest(service, NEW_IMAGE, replaced, folders)

    def swap(self, *requests: SwapRequest) -> Any:
        result = self.swapper.swap(requests, lambda service, _id: self.healthy.append(service))
        self.swapper.wait_for_drains()
        return result

    @property
    def made(self) -> list[FakeContainer]:
        return [container for container in self.docker.all.values() if engine.DEV_LABEL in container.labels]


@pytest.fixture
def stage(docker: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    use_workspace(tmp_path)
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}/state")
    monkeypatch.setenv("SLIPWAY_LOGS", str(tmp_path / "logs"))
    monkeypatch.setattr(desired, "_inputs_by_urn", {})
    monkeypatch.setattr(ContainerAddress, "is_local", True)
    monkeypatch.setattr(ContainerAddress, "probe_port", lambda *_: "open")
    monkeypatch.setattr(health, "SETTLE_SECONDS", 0.0)
    return Stage(docker)


def test_the_new_container_serves_and_the_deployed_one_is_kept_stopped(stage: Stage) -> None:
    result = stage.swap(stage.request())
    (made,) = stage.made
    assert result.containers == {"api": made} and not result.failed and stage.healthy == ["api"]
    assert made.image.ref == NEW_IMAGE
    assert stage.live_config == stage.config(f"{made.name}:8000")
    assert stage.old.did[-1].startswith("stop within") and stage.old.id in stage.docker.all


def test_what_invoke_dev_made_before_goes_with_its_image(stage: Stage) -> None:
    first = stage.swap(stage.request()).containers["api"]
    newest = stage.docker.add_image("demo/api@sha256:newest", Healthcheck={"Test": ["CMD", "check"]})
    replaced = ReplacedContainer(first.id, first.name, True, NEW_IMAGE)
    stage.swap(SwapRequest("api", newest.ref, replaced))
    assert first.id not in stage.docker.all and NEW_IMAGE not in stage.docker.stored_images


def test_sources_that_are_copied_are_in_the_new_container(stage: Stage) -> None:
    stage.swap(stage.request(**{"/app/src": build_archive({"main.py": "new"}, owner=ROOT_OWNER, mode=0o444)}))
    assert stage.made[0].text("/app/src/main.py") == "new"


def test_one_that_does_not_get_healthy_never_serves_and_is_removed(stage: Stage) -> None:
    stage.docker.on_start = lambda container: container.end(3)
    result = stage.swap(stage.request())
    assert list(result.failed) == ["api"] and "3" in result.failed["api"].message
    assert stage.made == [] and stage.healthy == []
    assert stage.live_config == stage.deployed_config
    assert stage.old.state["Running"] and stage.old.did == ["start"]


def test_of_several_those_that_are_healthy_are_served(stage: Stage) -> None:
    stage.docker.on_start = lambda container: container.end(3) if "worker" in container.name else None
    result = stage.swap(stage.request(), stage.request("worker"))
    assert list(result.containers) == ["api"] and list(result.failed) == ["worker"]


@pytest.mark.parametrize("hindrance", ["no gateway", "refused"])
def test_where_the_gateway_cannot_be_switched_the_new_one_goes_and_the_old_one_serves(
    stage: Stage, hindrance: str
) -> None:
    if hindrance == "no gateway":
        stage.gateway.end(0)
    else:
        stage.docker.on_exec = lambda _container, command: (3, "") if command[0] == "control" else (0, "")
    with pytest.raises(SlipwayError):
        stage.swap(stage.request())
    assert stage.made == []
    assert stage.live_config == stage.deployed_config
    assert stage.old.state["Running"]


def test_what_takes_no_requests_is_replaced_without_a_gateway(stage: Stage) -> None:
    stage.gateway.remove()
    result = stage.swap(stage.request("worker"))
    assert list(result.containers) == ["worker"] and stage.healthy == ["worker"]


def test_a_service_that_pulumi_never_deployed_is_refused_before_anything_starts(stage: Stage) -> None:
    with pytest.raises(SlipwayError, match="nobody"):
        stage.swap(stage.request("nobody"))
    assert stage.made == []


def test_what_was_deployed_serves_again_and_what_took_its_place_goes(stage: Stage) -> None:
    stage.swap(stage.request())
    stage.swapper.restore_deployed({"api": stage.old.id}, stage.deployed_config)
    assert stage.old.state["Running"] and stage.old.attrs["HostConfig"]["RestartPolicy"] == {"Name": "always"}
    assert stage.live_config == stage.deployed_config
    assert stage.made == []


def test_what_was_deployed_and_is_gone_cannot_serve_again_so_what_serves_goes_on(stage: Stage) -> None:
    stage.swap(stage.request())
    stage.old.remove()
    with pytest.raises(SlipwayError):
        stage.swapper.restore_deployed({"api": stage.old.id}, stage.deployed_config)
    assert len(stage.made) == 1 and stage.live_config != stage.deployed_config


def test_the_gateway_of_another_stack_is_left_alone(stage: Stage) -> None:
    other = stage.docker.add_container("demo-qa-gateway", labels=stack_labels("gateway", stack="qa"))
    stage.swap(stage.request())
    assert other.files == {}
