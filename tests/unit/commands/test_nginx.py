"""The gateway's nginx.conf."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway._internal.commands.nginx import Route, differ_only_in_upstreams, parse_config, render_config
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.request_limits import RequestLimits

API = Route("api", "/api", "demo-dev-api-1:8000")
DEEP = Route("deep", "/api/deep", "demo-dev-deep-1:9000")
WEB = Route("web", "/", "demo-dev-web-1:3000")
LIMITED = Route("files", "/files", "demo-dev-files-1:8000", RequestLimits("10m", connect=1, idle=9))


def locations(text: str) -> list[str]:
    return re.findall(r"^\s+location (?!.*slipway|@)(.+?) {$", text, re.MULTILINE)


def test_a_route_takes_its_path_and_what_is_below_it_and_no_neighbour() -> None:
    assert locations(render_config([API], drain_seconds=10)) == ["= /api", "/api/", "/"]


def test_the_longest_route_comes_first() -> None:
    paths = locations(render_config([WEB, API, DEEP], drain_seconds=10))
    assert paths == ["= /api/deep", "/api/deep/", "= /api", "/api/", "/"]


def test_the_order_of_routes_does_not_matter() -> None:
    assert render_config([WEB, API, DEEP], drain_seconds=10) == render_config([DEEP, WEB, API], drain_seconds=10)


def test_a_host_is_looked_up_when_a_request_comes_so_a_missing_one_cannot_stop_nginx() -> None:
    text = render_config([API], drain_seconds=10)
    assert "set $upstream demo-dev-api-1:8000;" in text
    assert set(re.findall(r"proxy_pass (.+);", text)) == {"http://$upstream"}
    assert "upstream {" not in text


def test_without_a_route_for_all_the_rest_the_gateway_says_so_itself() -> None:
    assert "no service has this route" in render_config([API], drain_seconds=10)
    assert "no service has this route" not in render_config([API, WEB], drain_seconds=10)


def test_no_routes_at_all_is_a_configuration_too() -> None:
    text = render_config([], drain_seconds=10)
    assert locations(text) == ["/"]
    for variable in ("service", "upstream"):  # nginx refuses a file that reads what nothing sets
        assert f"set ${variable} " in text


def test_what_only_names_other_containers_is_told_from_what_nginx_has_not_seen_yet() -> None:
    live = render_config([API, WEB], drain_seconds=10)
    moved = Route("api", "/api", "demo-dev-api-2:9000")
    assert differ_only_in_upstreams(live, render_config([WEB, moved], drain_seconds=10))
    for other in (
        render_config([API, WEB], drain_seconds=11),
        render_config([API], drain_seconds=10),
        render_config([API, DEEP, WEB], drain_seconds=10),
        render_config([Route("web", "/api", API.upstream), Route("api", "/", WEB.upstream)], drain_seconds=10),
        render_config([replace(API, limits=LIMITED.limits), WEB], drain_seconds=10),
        "events {}",
    ):
        assert not differ_only_in_upstreams(live, other)
        assert not differ_only_in_upstreams(other, live)


def test_requests_in_flight_get_the_given_time_at_a_reload() -> None:
    assert "worker_shutdown_timeout 7s;" in render_config([API], drain_seconds=7)


@pytest.mark.parametrize(
    ("route", "says"),
    [
        (Route("api", "api", "a:1"), "has the route 'api'"),
        (Route("api", "/api/", "a:1"), "has the route '/api/'"),
        (Route("api", "/a b", "a:1"), "has the route"),
        (Route("api", "/a;}", "a:1"), "has the route"),
        (Route("api", "/.slipway/x", "a:1"), "is the gateway's"),
        (Route("api", "/api", "a"), "not host:port"),
        (Route("api", "/api", "a:1;"), "not host:port"),
        (Route("a$b", "/api", "a:1"), "not a DNS label"),
    ],
)
def test_what_cannot_stand_in_the_file_is_refused(route: Route, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        render_config([route], drain_seconds=10)


def test_a_services_own_limits_hold_also_while_connections_close() -> None:
    text = render_config([WEB, LIMITED], drain_seconds=10)
    for line in ("client_max_body_size 10m;", "proxy_connect_timeout 1s;", "proxy_read_timeout 9s;"):
        assert text.count(line) == 3  # its path, what is below it, and the way for connections that close
    assert "error_page 418 = @closing-files;" in text
    assert "location @closing-files {" in text


@pytest.mark.parametrize("limits", [RequestLimits("10 m; x"), RequestLimits(idle=0), RequestLimits(connect=0)])
def test_limits_that_are_none_are_refused(limits: RequestLimits) -> None:
    with pytest.raises(ConfigError, match="has the limits"):
        render_config([replace(LIMITED, limits=limits)], drain_seconds=10)


def test_what_a_server_would_take_for_a_header_of_the_gateways_own_is_dropped() -> None:
    text = render_config([API], drain_seconds=10)
    for name in ("X_Forwarded_For", "X-Forwarded_For", "X_Real-IP", "X_Request_ID", "Content_Length"):
        assert f'proxy_set_header {name} "";' in text


def test_two_services_with_one_route_are_named() -> None:
    with pytest.raises(ConfigError, match="api and other have the same route /api"):
        render_config([API, Route("other", "/api", "o:1")], drain_seconds=10)


@given(st.text(), st.text(), st.text())
def test_nothing_that_could_be_a_directive_gets_into_the_file(service: str, route: str, upstream: str) -> None:
    try:
        text = render_config([Route(service, route, upstream)], drain_seconds=10)
    except ConfigError:
        return
    assert not set(service + route + upstream) & set(" ;{}$'\"\\\n#")
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("routes", [[], [API], [WEB, API, DEEP], [WEB, LIMITED], [replace(LIMITED, path="/")]])
def test_what_was_written_is_read_back(routes: list[Route]) -> None:
    found, drain = parse_config(render_config(routes, drain_seconds=7))
    assert sorted(found, key=str) == sorted(routes, key=str)
    assert drain == 7


def test_what_somebody_else_wrote_is_not_read() -> None:
    with pytest.raises(ConfigError):
        parse_config(render_config([API], drain_seconds=7).replace("8000", "8000; # mine"))
