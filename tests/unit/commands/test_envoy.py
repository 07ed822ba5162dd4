"""The gateway's Envoy configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway._internal.commands import envoy
from slipway._internal.commands.envoy import (
    GatewayConfig,
    GatewayOptions,
    Route,
    parse_config,
    render_config,
    render_transition,
)
from slipway._internal.commands.envoy_routes import MAX_UNKNOWN_BODY_BYTES
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.request_limits import RequestLimits
from slipway._internal.model.route_rules import RetrySettings
from slipway._internal.model.routes import HeaderSettings, RouteSettings

API = Route("api", "/api", "demo-dev-api-1:8000")
DEEP = Route("deep", "/api/deep", "demo-dev-deep-1:9000")
WEB = Route("web", "/", "demo-dev-web-1:3000")
LIMITED = Route("files", "/files", "demo-dev-files-1:8000", RequestLimits("10m", connect=1, idle=9), health="/health")


def resources(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text)["resources"]
    return found


def table(*routes: Route) -> list[dict[str, Any]]:
    """Return the routes' entries in the order in which they are tried, without the gateway's own."""
    [found] = resources(render_config(routes)[envoy.ROUTES])
    entries = found["virtual_hosts"][0]["routes"]
    assert len(found["virtual_hosts"]) == 1
    return list(entries[3:])


def transition(old: Sequence[Route], new: Sequence[Route]) -> str:
    return render_transition(GatewayConfig(tuple(old)), GatewayConfig(tuple(new)))


def clusters(*routes: Route) -> list[dict[str, Any]]:
    return resources(render_config(routes)[envoy.CLUSTERS])


def chosen(routes: Sequence[Route], path: str, method: str = "GET", **headers: str) -> str:
    """Return where a request goes: to a cluster, or the status of the gateway's own answer."""
    [found] = resources(render_config(routes)[envoy.ROUTES])
    named = {name.replace("_", "-"): value for name, value in headers.items()} | {":method": method}
    for entry in found["virtual_hosts"][0]["routes"]:
        if matches(entry["match"], path, named):
            if "redirect" in entry:
                return {"FOUND": "302", "MOVED_PERMANENTLY": "301"}[entry["redirect"]["response_code"]]
            if "route" in entry:
                return str(entry["route"]["cluster"].removesuffix("_kept"))
            return str(entry["direct_response"]["status"])
    raise AssertionError(f"{path} has no route")


def matches(match: dict[str, Any], path: str, headers: dict[str, str]) -> bool:
    """Whether Envoy would take a route, by what its reference says of these matchers."""
    bare = path.partition("?")[0]
    if "path" in match and bare != match["path"]:
        return False
    if "prefix" in match and not bare.startswith(match["prefix"]):
        return False
    if "safe_regex" in match and not re.fullmatch(match["safe_regex"]["regex"], bare):
        return False
    return all(_has_header(header, headers) for header in match.get("headers", []))


def _has_header(matcher: dict[str, Any], headers: dict[str, str]) -> bool:
    value = headers.get(matcher["name"])
    if matcher.get("treat_missing_header_as_empty"):
        value = value or ""
    if matcher.get("invert_match"):
        return value is None
    if value is None:
        return False
    if "range_match" in matcher:
        return int(matcher["range_match"]["start"]) <= int(value) < int(matcher["range_match"]["end"])
    return bool(re.fullmatch(matcher["string_match"]["safe_regex"]["regex"], value))


@pytest.mark.parametrize(
    ("path", "goes"),
    [
        ("/api", "demo-dev-api-1_8000"),
        ("/api?x=1", "demo-dev-api-1_8000"),
        ("/api/", "demo-dev-api-1_8000"),
        ("/api/x%2Fy", "demo-dev-api-1_8000"),
        ("/api//x", "demo-dev-api-1_8000"),
        ("/apix", "demo-dev-web-1_3000"),
        ("/api/deep/x", "demo-dev-deep-1_9000"),
        ("/api/deeper", "demo-dev-api-1_8000"),
        ("/", "demo-dev-web-1_3000"),
        ("/a%2Fb//c", "demo-dev-web-1_3000"),
        ("/.slipway/health", "200"),
        ("/.slipway/x", "404"),
    ],
)
def test_a_route_takes_its_path_and_what_is_below_it_and_no_neighbour(path: str, goes: str) -> None:
    for order in ([WEB, API, DEEP], [DEEP, API, WEB]):
        assert chosen(order, path) == goes


@pytest.mark.parametrize(
    "path",
    [
        *("/api%2Fx", "/api%2fx", "/%2Fapi", "//api", "//api/x", "/api%5Cx", "/api%2F", "/api%2Fdeep", "/api//deep"),
        *("/web/..%2Fapi/x", "/..%2fapi", "/x%2F..%2Fapi", "/x%5c..%5capi", "/api/..%2F", "/x%2F..", "/x%2f./y"),
        "/%2F.slipway/../x%2F..?q",
    ],
)
def test_a_path_that_a_service_could_take_for_another_routes_is_refused(path: str) -> None:
    assert chosen([WEB, API, DEEP], path) == "400"


@pytest.mark.parametrize("path", ["/x?next=/a%2F..%2Fb", "/..x%2Fy", "/x%2F..y", "/a.%2Fb", "/x%2F...%2Fy"])
def test_dots_that_are_no_segment_and_queries_are_nobodys_business(path: str) -> None:
    assert chosen([WEB, API, DEEP], path) == "demo-dev-web-1_3000"


def test_the_order_of_routes_does_not_matter() -> None:
    assert render_config([WEB, API, DEEP]) == render_config([DEEP, WEB, API])


def test_without_a_route_for_all_the_rest_the_gateway_says_so_itself() -> None:
    assert chosen([API], "/x") == "404"
    assert chosen([], "/x") == "404"
    assert "no service has this route" in render_config([])[envoy.ROUTES]
    assert "no service has this route" not in render_config([WEB])[envoy.ROUTES]


def test_each_upstream_has_a_cluster_of_its_name_which_balances_and_checks() -> None:
    cluster, kept = clusters(API)
    assert kept["name"] == f"{cluster['name']}_kept" and kept["alt_stat_name"] == cluster["name"]
    assert {name for name in cluster if cluster[name] != kept[name]} == {
        "name",
        "load_assignment",
        "typed_extension_protocol_options",
    }
    assert cluster["name"] == envoy.cluster_name(API.upstream) == "demo-dev-api-1_8000"
    [endpoints] = cluster["load_assignment"]["endpoints"]
    [endpoint] = endpoints["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"] == {"address": "demo-dev-api-1", "port_value": 8000}
    assert cluster["lb_policy"] == "LEAST_REQUEST"
    assert "tcp_health_check" in cluster["health_checks"][0]
    limited, _ = clusters(LIMITED)
    assert limited["health_checks"][0]["http_health_check"]["path"] == "/health"
    assert limited["connect_timeout"] == "1s"


def test_a_services_own_errors_take_no_container_out() -> None:
    outlier = clusters(API)[0]["outlier_detection"]
    assert outlier["split_external_local_origin_errors"] is True
    assert outlier["enforcing_consecutive_5xx"] == outlier["enforcing_consecutive_gateway_failure"] == 0
    assert outlier["enforcing_consecutive_local_origin_failure"] == 100


def cluster_of(route: Route, method: str, **headers: str) -> str:
    """Return the end of the name of the cluster that a request is sent by."""
    named = {name.replace("_", "-"): value for name, value in headers.items()} | {":method": method}
    entry = next(entry for entry in table(route) if matches(entry["match"], route.path, named))
    return str(entry["route"]["cluster"].removeprefix(envoy.cluster_name(route.upstream)))


def test_no_request_that_may_not_be_repeated_meets_a_connection_that_its_service_is_closing() -> None:
    limits = [
        options["common_http_protocol_options"]["max_requests_per_connection"]
        for cluster in clusters(API)
        for options in cluster["typed_extension_protocol_options"].values()
    ]
    assert limits[0] == 1 < limits[1]
    for route in (WEB, API, LIMITED):
        assert cluster_of(route, "GET") == cluster_of(route, "GET", x_slipway_tls="HTTP/1.1") == "_kept"
        assert not cluster_of(route, "GET", content_length="5")
        assert not cluster_of(route, "GET", content_length="0")
        assert not cluster_of(route, "GET", x_slipway_body="chunked")
        assert not cluster_of(route, "GET", upgrade="websocket")
        assert not cluster_of(route, "GET", x_slipway_tls="HTTP/2")
        assert {cluster_of(route, method) for method in ("HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH")} == {""}


@pytest.mark.parametrize("retries", [0, RetrySettings(on=("connect", "503"))])
def test_where_nothing_that_was_dropped_is_repeated_no_connection_is_used_again(retries: RetrySettings | int) -> None:
    assert not cluster_of(replace(API, rules=RouteSettings(path="/api", retries=retries)), "GET")


@pytest.mark.parametrize(("method", "repeated"), [("GET", True), ("PUT", True), ("POST", False), ("PATCH", False)])
def test_only_what_may_be_repeated_is_sent_again_once_it_was_sent(method: str, repeated: bool) -> None:
    entry = next(entry for entry in table(WEB) if matches(entry["match"], "/x", {":method": method}))
    conditions = entry["route"]["retry_policy"]["retry_on"].split(",")
    assert "connect-failure" in conditions
    assert ("reset" in conditions) is repeated
    assert not {"5xx", "gateway-error", "retriable-4xx"} & set(conditions)


def test_limits_are_the_services_own() -> None:
    routes = [WEB, LIMITED]
    size = 10 << 20
    assert chosen(routes, "/files/x", "POST", content_length=str(size)) == "demo-dev-files-1_8000"
    assert chosen(routes, "/files/x", "POST", content_length=str(size + 1)) == "413"
    assert chosen(routes, "/x", "POST", content_length=str(size + 1)) == "demo-dev-web-1_3000"
    for entry in (entry for entry in table(LIMITED) if "route" in entry):
        assert entry["route"]["idle_timeout"] == "9s" and entry["route"]["timeout"] == "0s"


def test_a_body_of_unknown_size_is_held_to_the_limit_and_an_upgraded_connection_is_not() -> None:
    def held(**headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()} | {":method": "POST"}
        entry = next(entry for entry in table(LIMITED) if matches(entry["match"], "/files", named))
        return entry.get("typed_per_filter_config")

    [config] = held().values()
    assert config["buffer"]["max_request_bytes"] == 10 << 20
    assert held(content_length="5") is None
    assert held(upgrade="websocket") is None
    [huge] = table(replace(LIMITED, path="/", limits=RequestLimits("2g")))[2:3]
    [config] = huge["typed_per_filter_config"].values()
    assert config["buffer"]["max_request_bytes"] == MAX_UNKNOWN_BODY_BYTES


def test_during_a_switch_there_are_the_old_upstreams_and_the_new() -> None:
    moved = replace(API, upstream="demo-dev-api-2:8000")
    found = [cluster["name"] for cluster in resources(transition([API, WEB], [moved, WEB]))]
    names = [name for name in found if not name.endswith("_kept")]
    assert found == [name for each in names for name in (each, f"{each}_kept")]
    assert names == ["demo-dev-api-1_8000", "demo-dev-api-2_8000", "demo-dev-web-1_3000"]
    assert transition([API], [API, WEB]) == render_config([API, WEB])[envoy.CLUSTERS]


def test_of_one_upstream_the_new_settings_hold_during_a_switch() -> None:
    patient = replace(API, limits=RequestLimits(connect=60))
    assert transition([API], [patient]) == render_config([patient])[envoy.CLUSTERS]


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
def test_what_cannot_stand_in_the_files_is_refused(route: Route, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        render_config([route])


@pytest.mark.parametrize("limits", [RequestLimits("10 m; x"), RequestLimits(idle=0), RequestLimits(connect=0)])
def test_limits_that_are_none_are_refused(limits: RequestLimits) -> None:
    with pytest.raises(ConfigError, match="has the limits"):
        render_config([replace(LIMITED, limits=limits)])


def test_what_a_server_would_take_for_a_header_of_the_gateways_own_is_dropped() -> None:
    [listener] = json.loads(render_config([API])[envoy.LISTENERS])["resources"]
    [chain] = listener["filter_chains"]
    [early] = chain["filters"][0]["typed_config"]["early_header_mutation_extensions"]
    pattern = early["typed_config"]["mutations"][0]["remove_on_match"]["key_matcher"]["safe_regex"]["regex"]
    for name in (
        "x_forwarded_for",
        "x-forwarded_for",
        "x_real-ip",
        "x_request_id",
        "content_length",
        "x-envoy-retry-on",
    ):
        assert re.fullmatch(pattern, name), name
    for name in ("x-forwarded-for", "x-real-ip", "content-length", "x_api_key", "my-x-envoy-header"):
        assert not re.fullmatch(pattern, name), name


def test_nobody_on_the_network_can_ask_envoy_itself() -> None:
    bootstrap = json.loads(render_config([])[envoy.BOOTSTRAP])
    assert list(bootstrap["admin"]["address"]) == ["pipe"]


def test_two_services_with_one_route_are_named() -> None:
    with pytest.raises(ConfigError, match="api and other have the same route /api"):
        render_config([API, Route("other", "/api", "o:1")])


@given(st.text(), st.text(), st.text())
def test_nothing_that_could_be_more_than_a_name_gets_into_the_files(service: str, route: str, upstream: str) -> None:
    try:
        render_config([Route(service, route, upstream)])
    except ConfigError:
        return
    assert not set(service + route + upstream) & set(" ;{}$%'\"\\\n#*|()")


@pytest.mark.parametrize("routes", [[], [API], [WEB, API, DEEP], [WEB, LIMITED], [replace(LIMITED, path="/")]])
def test_what_was_written_is_read_back(routes: list[Route]) -> None:
    found = parse_config(render_config(routes))
    assert sorted(found.routes, key=str) == sorted(routes, key=str)
    assert found.options == GatewayOptions()


def test_options_are_read_back_too() -> None:
    options = GatewayOptions(hosts=("shop.example.com",))
    assert parse_config(render_config([WEB], options)) == ((WEB,), options)


@pytest.mark.parametrize("files", [{}, {envoy.ROUTES: "{}"}, {envoy.ROUTES: "events {}"}])
def test_what_somebody_else_wrote_is_not_read(files: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        parse_config(files)
    changed = render_config([API])
    changed[envoy.CLUSTERS] = changed[envoy.CLUSTERS].replace("8000", "8001")
    with pytest.raises(ConfigError):
        parse_config(changed)


RULED = RouteSettings(
    path="/api",
    methods=("GET",),
    strip=True,
    timeout=30,
    request_headers=HeaderSettings({"X-Tier": "100%", "X-Age": "1"}, ("Cookie",)),
)


def test_rules_are_read_back_as_they_were_written() -> None:
    routes = (Route("api", "/api", "up:1", rules=RULED), WEB)
    assert parse_config(render_config(routes)).routes == routes


def test_a_route_of_one_method_leaves_the_others_to_the_next() -> None:
    routes = [Route("reads", "/api", "reads:1", rules=RouteSettings(path="/api", methods=("GET", "HEAD"))), WEB]
    assert chosen(routes, "/api/x") == chosen(routes, "/api", "HEAD") == "reads_1"
    assert chosen(routes, "/api/x", "POST") == "demo-dev-web-1_3000"
    writes = Route("writes", "/api", "writes:1", rules=RouteSettings(path="/api", methods=("POST",)))
    assert chosen([*routes, writes], "/api/x", "POST") == "writes_1"
    assert chosen([routes[0]], "/api/x", "POST") == "404"


def test_the_whole_root_taken_for_one_method_leaves_no_request_without_an_answer() -> None:
    routes = [Route("reads", "/", "reads:1", rules=RouteSettings(path="/", methods=("GET",)))]
    assert (chosen(routes, "/x"), chosen(routes, "/x", "POST")) == ("reads_1", "404")


def test_two_routes_for_one_method_of_a_path_are_refused() -> None:
    taken = RouteSettings(path="/api", methods=("GET", "POST"))
    with pytest.raises(ConfigError, match="api and other have the same route /api"):
        render_config([Route("other", "/api", "other:1", rules=taken), Route("api", "/api", "up:1", rules=RULED)])


def test_a_limit_and_a_rule_hold_together() -> None:
    limited = Route("api", "/api", "up:1", RequestLimits("1k"), rules=RULED)
    assert chosen([limited, WEB], "/api/x", content_length="2000") == "413"
    assert chosen([limited, WEB], "/api/x", "POST", content_length="2000") == "demo-dev-web-1_3000"
