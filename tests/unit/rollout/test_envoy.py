"""A running gateway gets another configuration without a cut connection, and keeps the one that works otherwise."""

from __future__ import annotations

import threading

import pytest
from tests.unit.fake_engine import FakeContainer, FakeEngine, refusal, run_control

from slipway._internal.commands.envoy import (
    BOOTSTRAP,
    CERTIFICATES,
    CLUSTERS,
    LIMITS,
    LISTENERS,
    ROUTES,
    GatewayOptions,
    Route,
    render_config,
)
from slipway._internal.commands.envoy_listener import CONFIG_DIR
from slipway._internal.commands.gateway_options import TlsOptions
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.route_rules import LimitSettings
from slipway._internal.model.routes import RouteSettings
from slipway._internal.rollout import envoy
from slipway._internal.rollout.cancellation import CancellationToken, Cancelled

REFUSAL = "[warning][config] [x.cc:81] Filesystem config update rejected: goo.gle/debugstr  name: ... no such field"


def config(upstream: str = "demo-dev-api-1:8000", *more: Route) -> dict[str, str]:
    return render_config([Route("api", "/api", upstream), *more])


def put(container: FakeContainer, files: dict[str, str]) -> None:
    for name, text in files.items():
        container.files[f"{CONFIG_DIR}/{name}"] = (text.encode(), 0o444)


def moves(command: list[str]) -> list[str]:
    """Return the files that a command puts into place."""
    assert command[:2] == ["control", "apply"]
    return [target.removeprefix(f"{CONFIG_DIR}/") for target in command[4::4]]


@pytest.fixture
def gateway(docker: FakeEngine) -> FakeContainer:
    """A gateway that serves one service."""
    found = docker.add_container("demo-dev-gateway", service="gateway", entrypoint=["control"])
    put(found, config())
    return found


def test_a_new_upstream_is_there_before_the_routes_lead_to_it_and_the_old_one_goes_last(
    docker: FakeEngine, gateway: FakeContainer
) -> None:
    clusters: list[str] = []

    def run(container: FakeContainer, command: list[str]) -> tuple[int, str]:
        clusters.extend(container.text(source) for source in command[3::4] if source.endswith(CLUSTERS))
        return run_control(container, command)

    docker.on_exec = run
    envoy.switch_config(gateway, config("demo-dev-api-2:8000"), CancellationToken())
    assert [moves(command) for command in docker.executed] == [[CLUSTERS, ROUTES, CLUSTERS]]
    assert ["demo-dev-api-1" in text for text in clusters] == [True, False]
    assert all("demo-dev-api-2" in text for text in clusters)
    assert envoy.read_live_config(gateway) == config("demo-dev-api-2:8000")


def test_only_what_differs_is_put_into_place(docker: FakeEngine, gateway: FakeContainer) -> None:
    more = config("demo-dev-api-1:8000", Route("web", "/", "demo-dev-web-1:3000"))
    envoy.switch_config(gateway, more, CancellationToken())
    assert [moves(command) for command in docker.executed] == [[CLUSTERS, ROUTES]]
    assert envoy.read_live_config(gateway) == more


def test_a_listener_that_another_version_wrote_is_replaced_before_the_routes(
    docker: FakeEngine, gateway: FakeContainer
) -> None:
    put(gateway, {LISTENERS: "{}"})
    envoy.switch_config(gateway, config(), CancellationToken())
    assert [moves(command) for command in docker.executed] == [[CLUSTERS, LISTENERS]]


def test_the_counters_of_limits_are_there_before_routes_name_them_and_before_a_listener_watches_them(
    docker: FakeEngine, gateway: FakeContainer
) -> None:
    rules = RouteSettings(path="/web", limit=LimitSettings(1, "day"))
    limited = config("demo-dev-api-1:8000", Route("web", "/web", "demo-dev-web-1:3000", rules=rules))
    envoy.switch_config(gateway, limited, CancellationToken())
    assert [moves(command) for command in docker.executed] == [[CLUSTERS, LIMITS, ROUTES]]
    assert envoy.read_live_config(gateway) == limited
    docker.executed.clear()
    put(gateway, {LISTENERS: "{}"})
    del gateway.files[f"{CONFIG_DIR}/{LIMITS}"]  # an older version's
    envoy.switch_config(gateway, limited, CancellationToken())
    assert [moves(command) for command in docker.executed] == [[CLUSTERS, LISTENERS]]
    assert envoy.read_live_config(gateway) == limited


def secure(certificate: str) -> dict[str, str]:
    return render_config(
        [Route("api", "/api", "demo-dev-api-1:8000")], GatewayOptions(tls=TlsOptions(certificate, "a.key", 443))
    )


def test_a_certificate_is_there_before_its_listener_and_is_waited_for(
    docker: FakeEngine, gateway: FakeContainer
) -> None:
    for wanted, moved in (
        (secure("ONE"), [CLUSTERS, LISTENERS, CERTIFICATES, ROUTES]),
        (secure("TWO"), [CLUSTERS, CERTIFICATES, ROUTES]),
        (config(), [CLUSTERS, LISTENERS, ROUTES]),
    ):
        docker.executed.clear()
        envoy.switch_config(gateway, wanted, CancellationToken())
        assert [moves(command) for command in docker.executed] == [moved]
        assert envoy.read_live_config(gateway) == wanted


def test_a_certificate_that_envoy_refuses_leaves_everything_as_it_was(
    docker: FakeEngine, gateway: FakeContainer
) -> None:
    for before in (config(), secure("ONE")):
        put(gateway, before)
        docker.executed.clear()

        def refuse(container: FakeContainer, command: list[str]) -> tuple[int, str]:
            run_control(container, command)
            return (3, "") if len(docker.executed) == 1 else (0, "")

        docker.on_exec = refuse
        with pytest.raises(SlipwayError, match="Envoy refuses"):
            envoy.switch_config(gateway, secure("BAD"), CancellationToken())
        assert envoy.read_live_config(gateway) == before


def test_a_gateway_with_a_certificate_is_up_once_it_serves_it(docker: FakeEngine, gateway: FakeContainer) -> None:
    envoy.wait_until_started(gateway, secure("ONE"), CancellationToken())
    assert "sds.certificate" in docker.executed[0]


def test_the_same_configuration_moves_nothing(docker: FakeEngine, gateway: FakeContainer) -> None:
    envoy.switch_config(gateway, config(), CancellationToken())
    assert docker.executed == []


def test_what_envoy_refuses_is_told_in_its_own_words_and_the_old_files_are_put_back(
    docker: FakeEngine, gateway: FakeContainer
) -> None:
    def refuse(container: FakeContainer, command: list[str]) -> tuple[int, str]:
        run_control(container, command)
        return (3, "") if len(docker.executed) == 1 else (0, "")

    docker.on_exec = refuse
    gateway.log = f"127.0.0.1 GET /\n{REFUSAL}\n".encode()
    with pytest.raises(SlipwayError, match="Envoy refuses") as caught:
        envoy.switch_config(gateway, config("demo-dev-api-2:8000"), CancellationToken())
    assert caught.value.detail.endswith("no such field")
    assert envoy.read_live_config(gateway) == config()


@pytest.mark.parametrize(("code", "says"), [(4, "within 15 s"), (1, "does not serve")])
def test_what_envoy_does_not_take_up_is_put_back_too(
    docker: FakeEngine, gateway: FakeContainer, code: int, says: str
) -> None:
    docker.on_exec = lambda _container, _command: (code, "no such file")
    with pytest.raises(SlipwayError, match=says) as caught:
        envoy.switch_config(gateway, config("demo-dev-api-2:8000"), CancellationToken())
    assert caught.value.detail == "no such file"
    assert envoy.read_live_config(gateway) == config()


def test_a_gateway_is_up_once_it_serves_its_versions(docker: FakeEngine, gateway: FakeContainer) -> None:
    envoy.wait_until_started(gateway, config(), CancellationToken())
    [command] = docker.executed
    assert command[:3] == ["control", "ready", "15.0"] and len(command) == 11


def test_the_waiting_for_a_gateway_can_be_interrupted(docker: FakeEngine, gateway: FakeContainer) -> None:
    stop, started = CancellationToken(), threading.Event()
    stop.cancel()
    docker.on_exec = lambda *_: (0, "") if started.wait(5) else (1, "")
    with pytest.raises(Cancelled):
        envoy.wait_until_started(gateway, config(), stop)
    started.set()


def test_a_gateway_that_ends_or_does_not_start_is_an_error(docker: FakeEngine, gateway: FakeContainer) -> None:
    docker.on_exec = lambda *_: (4, "")
    with pytest.raises(SlipwayError, match="did not start within 15 s"):
        envoy.wait_until_started(gateway, config(), CancellationToken())
    gateway.end(2)
    with pytest.raises(SlipwayError, match="exit code 2"):
        envoy.wait_until_started(gateway, config(), CancellationToken())


def test_a_container_without_control_is_an_error_of_the_engine(docker: FakeEngine, gateway: FakeContainer) -> None:
    def missing(*_: object) -> tuple[int, str]:
        raise refusal(400, "executable file not found")

    docker.on_exec = missing
    with pytest.raises(Exception, match="executable file not found"):
        envoy.wait_until_started(gateway, config(), CancellationToken())


def test_requests_of_before_a_switch_are_waited_for_where_no_route_leads_any_more(
    docker: FakeEngine, gateway: FakeContainer
) -> None:
    upstreams = ["demo-dev-api-0:8000", "demo-dev-api-1:8000"]
    envoy.wait_for_requests("demo", "dev", upstreams, 0, CancellationToken())
    envoy.wait_for_requests("other", "dev", upstreams, 0, CancellationToken())
    assert docker.executed == [["control", "drained", "0.00", "demo-dev-api-0_8000"]]


def test_a_gateway_that_is_not_slipways_or_does_not_run_is_not_asked(
    docker: FakeEngine, gateway: FakeContainer
) -> None:
    put(gateway, {BOOTSTRAP: "{}"})
    envoy.wait_for_requests("demo", "dev", ["demo-dev-api-0:8000"], 1, CancellationToken())
    gateway.end(1)
    envoy.wait_for_requests("demo", "dev", ["demo-dev-api-0:8000"], 1, CancellationToken())
    assert docker.executed == []


@pytest.mark.parametrize(("state", "stopped"), [("S", False), ("T", True), ("t+", True)])
def test_a_process_that_a_signal_stopped_is_noticed(gateway: FakeContainer, state: str, stopped: bool) -> None:
    gateway.processes["11"] = (state, "envoy")
    assert envoy.has_stopped_process(gateway) is stopped
