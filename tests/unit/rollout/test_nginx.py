"""A running gateway gets another configuration without a cut request, and keeps the one that works otherwise."""

from __future__ import annotations

import pytest
from tests.unit.fake_engine import WORKER, FakeContainer, FakeEngine, stack_labels

from slipway._internal.commands.nginx import Route, render_config
from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout import nginx
from slipway._internal.rollout.cancellation import CancellationToken, Cancelled

LIVE, CANDIDATE = "/etc/slipway/nginx.conf", "/etc/slipway/candidate.conf"
FLAG = str(nginx.KEEPALIVE_OFF_FILE)


def config(upstream: str = "api-1:8000", *more: Route) -> str:
    return render_config([Route("api", "/api", upstream), *more], drain_seconds=nginx.WORKER_SHUTDOWN_SECONDS)


@pytest.fixture
def gateway(docker: FakeEngine) -> FakeContainer:
    """A gateway that serves one service."""
    found = docker.add_container("demo-dev-gateway", service="gateway", entrypoint=["nginx"])
    found.files[LIVE] = (config().encode(), 0o444)
    return found


def test_new_upstreams_are_served_by_new_workers_and_need_no_check(docker: FakeEngine, gateway: FakeContainer) -> None:
    nginx.switch_config(gateway, config("api-2:8000"), CancellationToken())
    assert gateway.text(LIVE) == config("api-2:8000")
    assert docker.executed == [["nginx", "-e", "stderr", "-c", LIVE, "-s", "reload"]]
    assert CANDIDATE not in gateway.files


def test_other_routes_are_tested_beside_the_live_ones_first(docker: FakeEngine, gateway: FakeContainer) -> None:
    more = config("api-1:8000", Route("web", "/", "web-1:3000"))
    nginx.switch_config(gateway, more, CancellationToken())
    assert [command[4:] for command in docker.executed] == [[CANDIDATE, "-t"], [LIVE, "-s", "reload"]]
    assert gateway.text(LIVE) == more


def test_a_configuration_that_nginx_refuses_is_never_live(docker: FakeEngine, gateway: FakeContainer) -> None:
    docker.on_exec = lambda _container, command: (1, "unknown directive") if "-t" in command else (0, "")
    with pytest.raises(SlipwayError, match="refuses") as caught:
        nginx.switch_config(gateway, config("api-1:8000", Route("web", "/", "web-1:3000")), CancellationToken())
    assert caught.value.detail == "unknown directive"
    assert gateway.text(LIVE) == config()


@pytest.mark.parametrize("reloads", [True, False])
def test_where_nginx_does_not_reload_the_file_is_put_back(
    docker: FakeEngine, gateway: FakeContainer, monkeypatch: pytest.MonkeyPatch, reloads: bool
) -> None:
    monkeypatch.setattr(nginx, "START_SECONDS", 0.0)
    docker.on_exec = lambda _container, _command: (0, "") if reloads else (1, "no master process")
    with pytest.raises(SlipwayError, match="reload"):
        nginx.switch_config(gateway, config("api-2:8000"), CancellationToken())
    assert gateway.text(LIVE) == config()


def test_the_same_configuration_starts_no_workers(docker: FakeEngine, gateway: FakeContainer) -> None:
    nginx.switch_config(gateway, config(), CancellationToken())
    assert docker.executed == []


def test_client_connections_close_for_the_time_of_a_switch_only(gateway: FakeContainer) -> None:
    with nginx.keepalive_disabled(gateway) as off:
        assert off.config == config()
        assert gateway.files[FLAG][1] == 0o555
        assert nginx.is_keepalive_left_off(gateway) is False  # it is this process that works on it
    assert gateway.files[FLAG][1] == 0o444
    assert nginx.is_keepalive_left_off(gateway) is False


def test_what_a_killed_deploy_left_closing_is_noticed(gateway: FakeContainer) -> None:
    gateway.files[FLAG] = (b"", 0o555)
    assert nginx.is_keepalive_left_off(gateway) is True


@pytest.mark.parametrize(("service", "closes"), [("api", True), ("web", False)])
def test_connections_close_early_only_where_the_gateway_serves_what_is_replaced(
    gateway: FakeContainer, service: str, closes: bool
) -> None:
    nginx.disable_keepalive_early("demo", "dev", service)
    nginx.disable_keepalive_early("demo", "dev", service)
    assert (FLAG in gateway.files) is closes
    nginx.restore_keepalive("demo", "dev")
    assert gateway.files.get(FLAG, (b"", 0o444))[1] == 0o444


def test_without_a_gateway_there_is_nothing_to_close(docker: FakeEngine) -> None:
    stopped = docker.add_container("demo-dev-gateway", service="gateway")
    stopped.end(1)
    nginx.disable_keepalive_early("demo", "dev", "api")
    nginx.restore_keepalive("demo", "dev")
    assert stopped.files == {}


def test_a_gateway_is_up_once_it_has_workers(gateway: FakeContainer) -> None:
    nginx.wait_until_started(gateway, CancellationToken())
    gateway.processes = {}
    stop = CancellationToken()
    stop.cancel()
    with pytest.raises(Cancelled):
        nginx.wait_until_started(gateway, stop)


def test_a_gateway_that_ends_or_gets_no_workers_is_an_error(
    gateway: FakeContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nginx, "START_SECONDS", -1.0)
    gateway.processes = {"10": ("S", "nginx: master process")}
    with pytest.raises(SlipwayError, match="no workers"):
        nginx.wait_until_started(gateway, CancellationToken())
    gateway.end(2)
    with pytest.raises(SlipwayError, match="2"):
        nginx.wait_until_started(gateway, CancellationToken())


def test_requests_of_before_the_last_switch_are_seen_by_workers_that_are_finishing(
    docker: FakeEngine, gateway: FakeContainer
) -> None:
    docker.add_container("other-dev-gateway", labels=stack_labels("gateway", "other"), entrypoint=["nginx"])
    assert nginx.has_requests_in_flight("demo", "dev") is False
    gateway.processes["12"] = ("S", f"{WORKER} is shutting down")
    assert nginx.has_requests_in_flight("demo", "dev") is True
    assert nginx.has_requests_in_flight("other", "dev") is False


@pytest.mark.parametrize(("state", "stopped"), [("S", False), ("T", True), ("t+", True)])
def test_a_process_that_a_signal_stopped_is_noticed(gateway: FakeContainer, state: str, stopped: bool) -> None:
    gateway.processes["11"] = (state, WORKER)
    assert nginx.has_stopped_process(gateway) is stopped
