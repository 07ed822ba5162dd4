"""A canary on a Docker engine: a container of another image beside the service's own, and its share at the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.targets.kubernetes.conftest import change, root, settings
from tests.unit.targets.kubernetes.declared import DIGEST, Declared, declare

from slipway._internal.model.canary import Canary
from slipway._internal.provider.gateway import GatewayHandler
from slipway._internal.rollout.gateway import GatewaySpec
from slipway._internal.targets.docker.gateway_settings import kept_of_gateway

__all__ = ["root"]
CANARY = Canary("api", "registry.example/demo/api@sha256:" + "c" * 64, 10)


@pytest.fixture
def demo(root: Path) -> Path:
    settings(root, "target: docker")
    change(root, "api", 'kind = "python-api"', 'kind = "python-api"\nrelease = ["python", "-m", "app.migrate"]')
    change(root, "api", "", "[scale]\nmin = 2\n")
    return root


def declared(demo: Path) -> Declared:
    return declare(demo, {"api": {"TOKEN": "hunter2"}}, canaries=(CANARY,), canary_change="weights")


def test_its_container_is_as_the_services_own_but_for_the_image_and_the_name_that_leads_to_it(demo: Path) -> None:
    found = declared(demo)
    canary, stable = found["Container", "api.canary"], found["Container", "api"]
    assert (canary.pop("image"), canary.pop("canary")) == (CANARY.image, True)
    assert stable.pop("image").endswith(DIGEST) and "canary" not in stable and "group" not in canary
    assert canary == stable and canary["secrets"]
    assert found["Container", "api.2"]["image"].endswith(DIGEST)


def test_the_gateway_gets_its_share_after_it(demo: Path) -> None:
    found = declared(demo)
    gateway = found["Gateway", "dev"]
    assert gateway["canaries"].keys() == {"api"} and gateway["canaries"]["api"]["percent"] == 10
    assert ("Container", "api.canary") in found.after["Gateway", "dev"]
    api, web = GatewaySpec.from_inputs(gateway).routes
    assert api.canary and api.canary.percent == 10
    assert web.canary is None


def test_a_release_command_runs_for_it_before_it_starts(demo: Path) -> None:
    found = declared(demo)
    assert found["ReleaseCommand", "api"]["image"] == CANARY.image
    assert ("ReleaseCommand", "api") in found.after["Container", "api.canary"]


def test_without_canaries_nothing_says_so(demo: Path) -> None:
    assert "canaries" not in declare(demo)["Gateway", "dev"]


def test_a_step_keeps_all_of_the_gateway_but_weights_and_keys_and_a_promotion_takes_routes_too() -> None:
    known = {*GatewayHandler.required, *GatewayHandler.defaults, *GatewayHandler.optional, *GatewayHandler.secret}
    assert known - {*kept_of_gateway("weights")} == {"canaries", "consumers"}
    assert known - {*kept_of_gateway("promotion")} == {"canaries", "consumers", "routes"}
    assert kept_of_gateway(None) == []
