"""A stack's routes for Kong: what its files say, and what is refused because it has no word for it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.kong.stack_routes import API, CALLERS, STACK, load
from tests.unit.model.test_routes import SERVICE

from slipway._internal.commands.kong_file import render_kong_file
from slipway._internal.commands.kong_plugins import header_plugins
from slipway._internal.commands.kong_scripts import quote
from slipway._internal.insight import engines
from slipway._internal.model.engine_routes import EngineRoute
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.routes import ENCODED_DOT_SEGMENT, HeaderSettings, RouteSettings, written_otherwise
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Service, ServiceSettings, Workspace, load_workspace

HERE = Path(__file__).parent


def rendered(found: Workspace, engine: str = "kong", stack: Stack = STACK) -> Any:
    return list(yaml.safe_load_all(engines.render_for_kong(found, found.services, stack, engine)))


def one(route: str, table: str = "") -> str:
    return f'{SERVICE}[[routes]]\npath = "/api"\n{route}\n{table}'


@pytest.mark.parametrize(
    ("engine", "more", "golden"), [("kong", "", "kong.yaml"), ("kong-ingress", CALLERS, "ingress.yaml")]
)
def test_all_that_kong_can_express_is_written_as_it_was_checked(
    tmp_path: Path, engine: str, more: str, golden: str
) -> None:
    found = load(tmp_path, API + more)
    text = engines.render_for_kong(found, found.services, STACK, engine)
    assert text == (HERE / golden).read_text(encoding="utf-8")


def test_the_declarative_file_has_nothing_that_kongs_schema_does_not_know(tmp_path: Path) -> None:
    schema = json.loads((HERE / "schema.json").read_text())
    [content] = rendered(load(tmp_path))
    jsonschema.Draft202012Validator(schema).validate(content)
    content["services"][0]["routes"][0]["plugins"][0]["config"]["unknown"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(content)


def test_routes_are_tried_in_the_models_order_because_all_have_the_same_attributes(tmp_path: Path) -> None:
    [content] = rendered(load(tmp_path))
    routes = [*(route for service in content["services"] for route in service["routes"]), *content["routes"]]
    assert {tuple(sorted({"methods", "hosts", "paths"} & route.keys())) for route in routes} == {
        ("hosts", "methods", "paths")
    }
    ranks = {route["name"]: route["regex_priority"] for route in routes}
    assert len({*ranks.values()}) == len(ranks)
    assert sorted(ranks, key=ranks.__getitem__, reverse=True) == [
        *("ambiguous", "api-1", "api-1-otherwise", "api-2", "api-2-otherwise", "api-3", "api-3-otherwise", "web-1")
    ]


def matched(content: Any, path: str) -> str:
    """Return which route Kong's router takes for a path: its patterns begin at the start, and may end anywhere."""
    routes = [*(route for service in content["services"] for route in service["routes"]), *content.get("routes", ())]
    for route in sorted(routes, key=lambda route: -route["regex_priority"]):
        if any(re.match(pattern[1:], path) for pattern in route["paths"]):
            return str(route["name"])
    return ""


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/orders", "api-1"),
        ("/orders/", "api-1"),
        ("/orders/7%2F8", "api-1"),
        ("/orders2", "web-1"),
        ("/orders%2F7", "api-1-otherwise"),
        ("/%2Forders", "api-1-otherwise"),
        ("/v1/a.b", "api-2"),
        ("/v1/axb", "web-1"),
        ("/v1%5Ca.b/c", "api-2-otherwise"),
        ("/orders/x%2F..%2Fadmin", "ambiguous"),
        ("/..%2Fadmin", "ambiguous"),
        ("/a..b", "web-1"),
        ("/", "web-1"),
    ],
)
def test_a_path_meets_the_route_that_the_model_says(tmp_path: Path, path: str, name: str) -> None:
    [content] = rendered(load(tmp_path))
    assert matched(content, path) == name


@given(st.text("/%2Ff5Cc.abo", max_size=12).map("/".__add__))
def test_no_path_is_read_otherwise_than_the_model_reads_it(path: str) -> None:
    route = RouteSettings(path="/a/b.o")
    owner = Service("api", Path("services/api"), ServiceSettings(kind="k", port=1, routes=(route,)))
    found = matched(render_kong_file([EngineRoute(owner, 0, route)]), path)
    if re.fullmatch(ENCODED_DOT_SEGMENT, path):
        assert found == "ambiguous"
    elif path == route.path or path.startswith(f"{route.path}/"):
        assert found == "api-1"
    elif re.fullmatch(written_otherwise(route.path), path):
        assert found == "api-1-otherwise"
    else:
        assert not found


@pytest.mark.parametrize(
    ("rules", "key", "engine"),
    [
        ("timeout = 3", "timeout", "kong"),
        ("compression = true", "compression", "kong"),
        ("websockets = false", "websockets", "kong"),
        ('limit = { requests = 1, per = "day", burst = 9 }', "limit.burst", "kong"),
        ('retries = { on = ["connect", "503"] }', "retries.on", "kong"),
        ("retries = { any-method = true }", "retries.any-method", "kong"),
        ('methods = ["GET"]\ncors = { origins = ["*"] }', "cors", "kong"),
        ('auth.jwt = { issuer = "i", audiences = ["a"], url = "https://a.example/k" }', "auth.jwt", "kong-ingress"),
        ('auth.external = "http://a/check"', "auth.external", "kong-ingress"),
        ("auth.keys = true", "auth.keys", "kong"),
        ("auth.basic = true", "auth.basic", "kong"),
        ("retries = 1", "retries", "kong-ingress"),
        ("timeouts.idle = 9", "timeouts.idle", "kong-ingress"),
        ("request-headers = { set = { A = '$(headers.cookie)' } }", "request-headers", "kong"),
        ("response-headers = { set = { A = ':b' } }", "response-headers", "kong"),
    ],
)
def test_what_kong_has_no_word_for_is_refused_by_file_line_key_and_engine(
    tmp_path: Path, rules: str, key: str, engine: str
) -> None:
    found = load(tmp_path, one(rules))
    line = 5 + rules.count("\n")
    with pytest.raises(
        ConfigError, match=rf"services/api/service.toml:{line}: `{re.escape(key)}` cannot be had with Kong: "
    ) as caught:
        rendered(found, engine)
    assert caught.value.remedy
    [row] = [row for row in engines.list_engine_routes(found.services, STACK, engine) if row["route"] == "/api"]
    assert [refused["key"] for refused in row["refused"]] == [key]
    assert key in engines.engine_cells(row)[-1]


def test_a_rule_for_all_routes_is_refused_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"services/api/service.toml:7: `compression` cannot be had with Kong"):
        rendered(load(tmp_path, one("", "[gateway]\ncompression = true\n")))
    load(tmp_path, one(""))
    file = tmp_path / "workspace.toml"
    file.write_text(f"{file.read_text()}[gateway]\nwebsockets = false\n")
    found = load_workspace(tmp_path)
    with pytest.raises(ConfigError, match=r"workspace.toml:7: `websockets` cannot be had with Kong"):
        rendered(found)


def test_a_service_that_speaks_http2_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"services/api/service.toml:1: `protocol` cannot be had with Kong"):
        rendered(load(tmp_path, f'protocol = "h2c"\n{one("")}'))


@pytest.mark.parametrize(
    ("api", "web", "key"),
    [
        (one('host = "b.example"'), one("").replace("/api", "/"), "path"),
        (one('host = "*.b.example"'), one('host = "c.b.example"'), "host"),
    ],
)
def test_hosts_that_kong_would_mix_are_refused(tmp_path: Path, api: str, web: str, key: str) -> None:
    found = load(tmp_path, api, web)
    with pytest.raises(ConfigError, match=rf"services/web/service.toml:\d: `{key}` .*Kong would answer by"):
        rendered(found, stack=replace(STACK, host=None))


def test_who_may_call_is_a_list_of_consumers_and_no_file_has_a_key(tmp_path: Path) -> None:
    found = load(tmp_path, API + CALLERS)
    resources = rendered(found, "kong-ingress")
    named = {resource["metadata"]["name"]: resource for resource in resources if resource["kind"] != "HTTPRoute"}
    assert named["api-4.acl"]["config"]["allow"] == ["shop"]
    assert named["api-5.acl"]["config"]["allow"] == ["bank", "shop"]
    assert named["api-4.key-auth"]["config"]["key_names"] == ["x-shop-key"]
    assert (
        named["api-4.key-auth"]["config"] | {"key_in_query": False, "hide_credentials": True}
        == (named["api-4.key-auth"]["config"])
    )
    assert named["consumer-shop"]["credentials"] == ["consumer-shop-acl", "consumer-shop-basic", "consumer-shop-keys"]
    secrets = [resource for resource in resources if resource["kind"] == "Secret"]
    assert [secret["stringData"] for secret in secrets] == [{"group": "bank"}, {"group": "shop"}]
    used = {
        name
        for resource in resources
        if resource["kind"] == "HTTPRoute"
        for name in resource["metadata"]["annotations"]["konghq.com/plugins"].split(",")
    }
    assert used == {name for name, resource in named.items() if resource["kind"] == "KongPlugin"}


def test_nobody_is_let_in_where_no_consumer_is_known(tmp_path: Path) -> None:
    found = load(tmp_path, one("auth.keys = { groups = ['partners'] }"))
    named = {each["metadata"]["name"]: each for each in rendered(found, "kong-ingress")}
    assert named["api-1.acl"]["config"]["allow"] == ["bank"]
    found = Workspace(found.root, msgspec.structs.replace(found.settings, consumers={}), found.services)
    named = {each["metadata"]["name"]: each for each in rendered(found, "kong-ingress")}
    assert named["api-1.acl"]["config"]["allow"] == ["-"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    found = load(tmp_path)
    with pytest.raises(ConfigError, match="there is no engine 'apisix'") as caught:
        rendered(found, "apisix")
    assert "kong, kong-ingress" in caught.value.remedy
    with pytest.raises(ConfigError, match="`slipway:parent` names no Gateway"):
        rendered(found, "kong-ingress", replace(STACK, parent=None))
    settings = msgspec.structs.replace(found.settings, gateway=msgspec.structs.replace(found.settings.gateway, hsts=9))
    found = Workspace(found.root, settings, found.services)
    with pytest.raises(ConfigError, match="`hsts` cannot be had with Kong"):
        rendered(found, stack=replace(STACK, tls="cert"))


def test_a_request_is_repeated_as_often_as_the_rule_says(tmp_path: Path) -> None:
    [content] = rendered(load(tmp_path, one("retries = 0"), one("retries = 2").replace("/api", "/")))
    assert [service["retries"] for service in content["services"]] == [0, 2]


def test_a_header_is_set_whether_it_was_there_or_not() -> None:
    route = RouteSettings(path="/", request_headers=HeaderSettings({"B": "2: 3", "A": "1"}))
    assert header_plugins(route, ("x-c",)) == {
        "request-transformer": {
            "remove": {"headers": ["x-c"]},
            "replace": {"headers": ["A:1", "B:2: 3"]},
            "add": {"headers": ["A:1", "B:2: 3"]},
        }
    }
    assert header_plugins(RouteSettings(path="/")) == {}


@given(st.text(max_size=20))
def test_nothing_ends_a_text_in_a_script(text: str) -> None:
    try:
        written = quote(text)
    except ValueError:
        return
    assert re.fullmatch(r'"[A-Za-z0-9._~/:-]*"', written)
