"""A service's container, without an engine."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.provider.test_container import INPUTS

from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout.container import ContainerSpec, container_options
from slipway._internal.rollout.desired import desired_container


def test_secrets_are_in_nothing_that_the_engine_shows() -> None:
    asked = repr(container_options(ContainerSpec.from_inputs(INPUTS), "demo-dev-api-1", "urn"))
    assert "open sesame" not in asked
    assert "open sesame" not in repr(ContainerSpec.from_inputs(INPUTS))


def test_a_container_has_no_privilege_and_no_published_port() -> None:
    asked = container_options(ContainerSpec.from_inputs(INPUTS), "demo-dev-api-1", "urn")
    assert asked["read_only"] and asked["cap_drop"] == ["ALL"] and "ports" not in asked
    assert asked["security_opt"] == ["no-new-privileges:true"]
    assert asked["mem_limit"] == "256m"


def test_a_container_has_an_init_that_takes_in_orphans() -> None:
    assert container_options(ContainerSpec.from_inputs(INPUTS), "demo-dev-api-1", "urn")["init"] is True


@pytest.mark.parametrize(
    ("tmp", "mounted"),
    [
        ({}, "rw,noexec,nosuid,nodev,mode=1777"),
        ({"tmpExec": True}, "rw,exec,nosuid,nodev,mode=1777"),
        ({"tmpSize": "64m"}, "rw,noexec,nosuid,nodev,mode=1777,size=64m"),
        ({"tmpExec": True, "tmpSize": "64m"}, "rw,exec,nosuid,nodev,mode=1777,size=64m"),
    ],
)
def test_tmp_runs_no_programs_and_has_no_size_of_its_own_unless_it_is_said(tmp: dict[str, Any], mounted: str) -> None:
    assert container_options(ContainerSpec.from_inputs({**INPUTS, **tmp}), "n", "urn")["tmpfs"] == {"/tmp": mounted}


def test_port_is_told_in_the_environment_unless_it_is_set_there() -> None:
    assert container_options(ContainerSpec.from_inputs(INPUTS), "n", "urn")["environment"] == {
        "PORT": "8000",
        "LEVEL": "info",
    }
    own = ContainerSpec.from_inputs({**INPUTS, "env": {"PORT": "9"}})
    assert container_options(own, "n", "urn")["environment"] == {"PORT": "9"}


def test_without_secrets_there_is_no_volume() -> None:
    assert container_options(ContainerSpec.from_inputs({**INPUTS, "secrets": {}}), "n", "urn")["mounts"] == []


def test_a_container_that_pulumi_never_wanted_is_none_to_replace() -> None:
    with pytest.raises(SlipwayError, match="api has no container in elsewhere") as caught:
        desired_container("elsewhere", "api")
    assert "invoke deploy --stack elsewhere" in caught.value.remedy
