"""A stack on a Docker engine declares its containers in an order: what they stand on first, then what prepares them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.targets.kubernetes.conftest import change, root, settings
from tests.unit.targets.kubernetes.declared import DIGEST, Declared, declare

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.request_limits import RequestLimits
from slipway._internal.model.route_rules import LimitSettings
from slipway._internal.model.routes import RouteSettings
from slipway._internal.rollout.gateway import GatewaySpec

__all__ = ["root"]
MIGRATED = 'needs = ["worker"]\nrelease = ["python", "-m", "app.migrate"]'


@pytest.fixture
def demo(root: Path) -> Path:
    """The demo, whose API has a release command and needs the worker, which is a database here."""
    settings(root, "target: docker")
    change(root, "worker", 'kind = "worker"', 'kind = "worker"\nport = 5432\nurl = "postgres://{host}:{port}/app"')
    change(root, "api", 'kind = "python-api"', f'kind = "python-api"\n{MIGRATED}')
    return root


def declared(demo: Path, **state: bool) -> Declared:
    return declare(demo, {"api": {"TOKEN": "hunter2"}}, **state)


def test_a_release_command_is_made_from_what_its_container_is_made_from(demo: Path) -> None:
    found = declared(demo)
    command, container = found["ReleaseCommand", "api"], found["Container", "api"]
    assert command["release"] == ["python", "-m", "app.migrate"] and command["image"].endswith(DIGEST)
    assert command["rollsBack"] is False
    for key in ("service", "stack", "workspace", "image", "network", "env", "secrets", "memory", "cpus", "tmpExec"):
        assert command[key] == container[key], key
    assert {"port", "drainSeconds", "healthTimeout"}.isdisjoint(command)
    assert found.kinds("web") == {"Container"}


def test_a_container_waits_for_its_release_command_and_both_for_what_they_stand_on(demo: Path) -> None:
    found = declared(demo)
    assert found.after["Container", "api"] >= {("ReleaseCommand", "api"), ("Container", "worker")}
    assert ("Container", "worker") in found.after["ReleaseCommand", "api"]
    assert found.after["Container", "web"].isdisjoint({("Container", "api"), ("Container", "worker")})


def test_a_rollback_tells_the_release_command_so(demo: Path) -> None:
    assert declared(demo, rolls_back=True)["ReleaseCommand", "api"]["rollsBack"] is True


def test_the_gateway_gets_the_rules_in_force_and_reads_them_as_they_were(demo: Path) -> None:
    rules = 'limit = { requests = 5, per = "minute" }\nallow = ["10.0.0.0/8"]\nretries = 2\nbody = "3m"\n'
    change(demo, "api", 'route = "/api"\n', "")
    change(demo, "api", "", f'[[routes]]\npath = "/api"\ntimeouts.idle = 7\ncompression = true\n[gateway]\n{rules}')
    gateway = declared(demo)["Gateway", "dev"]
    api, web = GatewaySpec.from_inputs(gateway).routes
    limit = LimitSettings(5, "minute")
    assert api.rules == RouteSettings(path="/api", limit=limit, allow=("10.0.0.0/8",), retries=2, compression=True)
    assert api.limits == RequestLimits("3m", idle=7)
    assert (web.rules, web.limits) == (None, RequestLimits())


def test_the_page_of_apis_shows_what_has_a_document_unless_the_stack_is_protected(demo: Path) -> None:
    apis = declared(demo)["Gateway", "dev"]["options"]["apis"]
    assert apis == [{"service": "api", "path": "/api/openapi.json"}]
    change(demo, "api", 'route = "/api"', "")
    with (demo / "services/api/service.toml").open("a") as file:
        file.write('\n[[routes]]\npath = "/api"\nstrip = true\n')
    assert declared(demo)["Gateway", "dev"]["options"]["apis"][0]["prefix"] == "/api"
    settings(demo, "target: docker", "images: external", "protected: true")
    assert "options" not in declared(demo)["Gateway", "dev"]


@pytest.mark.parametrize("place", ["routes", "service", "workspace"])
def test_a_cache_of_answers_is_refused_where_it_is_asked_for(demo: Path, place: str) -> None:
    change(demo, "api", 'route = "/api"\n', "")
    own = "cache = { seconds = 60 }\n" if place == "routes" else ""
    change(demo, "api", "", f'[[routes]]\npath = "/api"\n{own}')
    file = demo / ("workspace.toml" if place == "workspace" else "services/api/service.toml")
    if not own:
        before, _, after = file.read_text().partition("[gateway]\n")
        file.write_text(f"{before}\n[gateway]\ncache = {{ seconds = 60 }}\n{after}")
    line = file.read_text().splitlines().index("cache = { seconds = 60 }") + 1
    with pytest.raises(ConfigError, match=rf"{file}:{line}: `cache` cannot be had with .* Docker engine, Envoy"):
        declared(demo)
