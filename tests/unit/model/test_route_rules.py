"""The rules of routes are checked when files are read, and a route's own count before those for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.model.test_routes import ROUTE, SERVICE, load

from slipway._internal.model import workspace
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.parsing import convert
from slipway._internal.model.request_limits import Timeouts
from slipway._internal.model.route_rules import (
    CacheSettings,
    CorsSettings,
    LimitSettings,
    RetrySettings,
    RuleSettings,
    is_network,
    with_defaults,
)
from slipway._internal.model.routes import RouteSettings

WHOLE = f"""\
{ROUTE}limit = {{ requests = 10, per = "second", by = "route", burst = 20 }}
allow = ["10.0.0.0/8", "2001:db8::/32"]
deny = ["10.0.0.7"]
cors = {{ origins = ["https://*.a.example:8443"], methods = ["GET"], expose = ["A"], credentials = true, max-age = 5 }}
retries = {{ times = 2, on = ["connect", "503"], any-method = true }}
compression = true
websockets = false
cache = {{ seconds = 60, vary = ["Accept"] }}
body = "1m"
timeouts = {{ idle = 9 }}
"""


def test_rules_are_read_whole(tmp_path: Path) -> None:
    [route] = load(tmp_path, api=WHOLE).service("api").ruled_routes
    assert route == RouteSettings(
        path="/api",
        limit=LimitSettings(10, "second", "route", 20),
        allow=("10.0.0.0/8", "2001:db8::/32"),
        deny=("10.0.0.7",),
        cors=CorsSettings(("https://*.a.example:8443",), ("GET",), expose=("A",), credentials=True, max_age=5),
        retries=RetrySettings(2, ("connect", "503"), True),
        compression=True,
        websockets=False,
        cache=CacheSettings(60, ("Accept",)),
        body="1m",
        timeouts=Timeouts(idle=9),
    )
    assert route.retry_policy == RetrySettings(2, ("connect", "503"), True)


@pytest.mark.parametrize(
    ("retries", "policy"),
    [(None, RetrySettings(4)), (0, None), (2, RetrySettings(2)), (RetrySettings(1), RetrySettings(1))],
)
def test_a_number_of_retries_is_short_for_the_usual_reasons(retries: Any, policy: RetrySettings | None) -> None:
    assert RuleSettings(retries=retries).retry_policy == policy


@pytest.mark.parametrize(
    ("limit", "capacity", "seconds"),
    [
        (LimitSettings(10, "second"), 10, 1),
        (LimitSettings(10, "minute", burst=1), 1, 6),
        (LimitSettings(7, "hour"), 7, 515),
        (LimitSettings(1, "day"), 1, 86400),
    ],
)
def test_a_limit_says_how_many_at_once_and_when_the_next(limit: LimitSettings, capacity: int, seconds: int) -> None:
    assert (limit.capacity, limit.retry_after) == (capacity, seconds)


def test_a_routes_own_rule_counts_before_its_services_and_the_workspaces(tmp_path: Path) -> None:
    limit = 'limit = { requests = 1, per = "day" }\n'
    second = '[[routes]]\npath = "/open"\nlimit = "off"\ndeny = []\n[gateway]\ncompression = true\n'
    service = f'{ROUTE}deny = ["10.1.1.1"]\n{second}'
    moved = f'{SERVICE}[[routes]]\npath = "/old"\nredirect = {{ path = "/new" }}\n'
    load(tmp_path, api=service, web=f'{SERVICE}route = "/"\n', old=moved)
    file = tmp_path / "workspace.toml"
    file.write_text(f'{file.read_text()}[gateway]\n{limit}deny = ["10.2.2.2"]\nretries = 0\n')
    found = workspace.load_workspace(tmp_path)
    api, opened = found.service("api").ruled_routes
    assert (api.limit, api.deny, api.retries, api.compression) == (LimitSettings(1, "day"), ("10.1.1.1",), 0, True)
    assert (opened.limit, opened.deny) == (None, ())
    [web] = found.service("web").ruled_routes
    assert (web.rate_limit, web.deny, web.compression) == (LimitSettings(1, "day"), ("10.2.2.2",), None)
    [old] = found.service("old").ruled_routes
    assert (old.limit, old.deny, old.retries) == (LimitSettings(1, "day"), ("10.2.2.2",), None)


def test_kept_answers_are_told_apart_by_who_asked() -> None:
    assert RuleSettings(cache=CacheSettings(1)).variations == ("accept-encoding", "authorization", "cookie")
    rules = RuleSettings(cache=CacheSettings(1, ("Cookie", "Accept")), cors=CorsSettings(("*",)))
    assert rules.variations == ("accept", "accept-encoding", "authorization", "cookie", "origin")


def test_a_route_for_known_callers_keeps_nothing_of_a_cache_for_all(tmp_path: Path) -> None:
    load(tmp_path, api=f"{ROUTE}auth = {{ keys = true }}\n")
    file, service = tmp_path / "workspace.toml", tmp_path / "services/api/service.toml"
    file.write_text(f"{file.read_text()}[gateway]\ncache = {{ seconds = 60 }}\n")
    with pytest.raises(ConfigError, match=r"services/api/service.toml:5: `cache` would keep") as caught:
        workspace.load_workspace(tmp_path)
    assert 'cache = "off"' in caught.value.remedy
    service.write_text(f'{service.read_text()}cache = "off"\n')
    [route] = workspace.load_workspace(tmp_path).service("api").ruled_routes
    assert route.kept_answers is None


CORS = "cors = {{ origins = [{}] }}\n"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('limit = { requests = 0, per = "day" }', "limit"),
        ('limit = { requests = 1, per = "week" }', "limit"),
        ('limit = { requests = 1, per = "day", by = "moon" }', "limit"),
        ('limit = { requests = 1, per = "day", burst = 0 }', "limit"),
        ("limit = { requests = 1 }", "limit"),
        ('limit = "none"', "limit"),
        ("limit = 3", "limit"),
        ("allow = []", "`allow` is empty"),
        ('allow = ["10.0.0.1/8"]', "`allow` names '10.0.0.1/8'"),
        ('allow = ["host"]', "`allow` names 'host'"),
        ('deny = ["fe80::1%eth0"]', "`deny` names"),
        ('deny = ["::ffff:10.0.0.1"]', "`deny` names"),
        ('deny = ["10.0.0.0/255.0.0.0"]', "`deny` names"),
        ('deny = "10.0.0.1"', "deny"),
        (CORS.format(""), "`origins` of `cors` is empty"),
        (CORS.format('"https://app.example.com/"'), "is no origin"),
        (CORS.format('"app.example.com"'), "is no origin"),
        (CORS.format('"https://App.example.com"'), "is no origin"),
        (CORS.format('"https://a*.example.com"'), "is no origin"),
        (CORS.format('"https://*"'), "is no origin"),
        (CORS.format('"https://*.*.example.com"'), "is no origin"),
        (CORS.format('"null"'), "is no origin"),
        ('cors = { origins = ["*"], credentials = true }', 'is "*" with `credentials`'),
        ('cors = { origins = ["https://a.b"], credentials = true, headers = ["*"] }', '`headers` of `cors` is "*"'),
        ('cors = { origins = ["*"], methods = ["get"] }', "`methods` of `cors` names 'get'"),
        ('cors = { origins = ["*"], headers = ["a b"] }', "no header's name"),
        ('cors = { origins = ["*"], expose = ["a\\r\\nb"] }', "no header's name"),
        ("retries = 11", "retries"),
        ("retries = -1", "retries"),
        ("retries = { on = [] }", "`on` of `retries` is empty"),
        ('retries = { on = ["404"] }', "retries"),
        ("retries = { times = 0 }", "retries"),
        ('compression = "yes"', "compression"),
        ("websockets = 1", "websockets"),
        ("cache = { seconds = 0 }", "cache"),
        ("cache = { seconds = 86401 }", "cache"),
        ("cache = { vary = ['Accept'] }", "cache"),
        ("cache = true", "cache"),
        ('cache = { seconds = 1, vary = ["*"] }', "`vary` of `cache` names '*'"),
        ('cache = { seconds = 1, vary = ["a b"] }', "`vary` of `cache` names 'a b'"),
        ('body = "1mb"', "`body` is '1mb'"),
    ],
)
@pytest.mark.parametrize("place", ["routes", "gateway", "workspace"])
def test_what_is_wrong_is_named_by_file_line_and_key(tmp_path: Path, rule: str, said: str, place: str) -> None:
    texts = {"routes": f"{ROUTE}{rule}\n", "gateway": f'{SERVICE}route = "/api"\n[gateway]\n{rule}\n'}
    if place == "workspace":
        load(tmp_path)
        file, line = tmp_path / "workspace.toml", 4
        file.write_text(f"{file.read_text()}[gateway]\n{rule}\n")
    else:
        load(tmp_path)
        file, line = tmp_path / "services/api/service.toml", 5
        file.parent.mkdir(parents=True)
        file.write_text(texts[place])
        (file.parent / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(ConfigError) as caught:
        workspace.load_workspace(tmp_path)
    assert f"{file.relative_to(tmp_path)}:{line}: " in caught.value.message
    assert said in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("timeouts.connect = 3\n", "a route has no `connect` of its own"),
        ('methods = ["GET"]\ncors = { origins = ["*"], methods = ["PUT"] }\n', "PUT, which the route does not take"),
        ('methods = ["POST"]\ncache = { seconds = 1 }\n', "`cache` is for answers to GET and HEAD"),
        ("cache = { seconds = 1 }\nauth = { keys = true }\n", "`cache` would keep what was made for one caller"),
        *(
            (f'redirect = {{ path = "/n" }}\n{rule}\n', f"has no `{rule.split()[0].split('.')[0]}`")
            for rule in (
                "retries = 1",
                "compression = true",
                "websockets = false",
                "cache = { seconds = 1 }",
                'body = "1m"',
                "timeouts.idle = 3",
                'cors = { origins = ["*"] }',
            )
        ),
    ],
)
def test_what_a_route_cannot_have_is_refused(tmp_path: Path, rules: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"services/api/service.toml:[5-6]: ") as caught:
        load(tmp_path, api=f"{ROUTE}{rules}")
    assert said in caught.value.message and caught.value.remedy


@given(st.text(max_size=40))
def test_no_text_is_taken_for_a_range_that_none_can_come_from(text: str) -> None:
    if is_network(text):
        assert set(text) <= set("0123456789abcdefABCDEF.:/")


def test_rules_survive_pulumi_which_has_no_whole_numbers(tmp_path: Path) -> None:
    [route] = load(tmp_path, api=WHOLE).service("api").ruled_routes
    assert convert(floats(msgspec.to_builtins(route)), RouteSettings, strict=False) == route
    three = RouteSettings(path="/", retries=3)
    assert convert(floats(msgspec.to_builtins(three)), RouteSettings, strict=False) == three
    assert with_defaults(three) == three


def floats(value: Any) -> Any:
    """Return plain data as Pulumi's engine has it."""
    if isinstance(value, dict):
        return {name: floats(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [floats(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
