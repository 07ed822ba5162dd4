"""The gateway's log, of the real Envoy: a line of JSON for each request."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.running_envoy import RunningEnvoy

from slipway._internal.commands.envoy import Route
from slipway._internal.model.routes import RedirectSettings, RouteSettings


@pytest.fixture(scope="module")
def served(gateway: RunningEnvoy) -> RunningEnvoy:
    rules = [
        RouteSettings(path="/a", methods=("GET", "POST"), strip=True),
        RouteSettings(path="/old", redirect=RedirectSettings(path="/new")),
        RouteSettings(path="/no", deny=("127.0.0.1",)),
    ]
    gateway.serve([Route(each.path[1:], each.path, gateway.upstream, rules=each) for each in rules])
    return gateway


def logged(gateway: RunningEnvoy, path: str, method: str = "GET", body: Any = None) -> dict[str, Any]:
    """Ask, and return the line of the log with the request's id, its time and its milliseconds taken out."""
    name = f"id-{path}-{method}".replace("?", ".")
    gateway.ask(path, method, body, X__Request__ID=re.sub("[^A-Za-z0-9.-]", ".", name))
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        lines = [json.loads(line) for line in gateway.process.log.splitlines() if line.startswith("{")]
        found[:] = [line for line in lines if line["id"] == re.sub("[^A-Za-z0-9.-]", ".", name)]
        return bool(found)

    gateway.process.wait(is_there)
    [line] = found
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert isinstance(line.pop("milliseconds"), int)
    line.pop("id")
    return line


def test_a_line_says_who_asked_for_what_and_who_answered(served: RunningEnvoy) -> None:
    line = logged(served, "/a/x?y=1", "POST", b"12345")
    assert line.pop("sent") > 100
    assert line == {
        "from": "127.0.0.1",
        "consumer": None,
        "method": "POST",
        "host": f"127.0.0.1:{served.port}",
        "path": "/x?y=1",
        "protocol": "HTTP/1.1",
        "route": "GET,POST /a",
        "service": "a",
        "upstream": served.upstream,
        "status": 200,
        "flags": "-",
        "received": 5,
    }


@pytest.mark.parametrize(
    ("path", "route", "service", "status"),
    [
        ("/old/x", "/old", "old", 302),
        ("/no/x", "/no", "no", 403),
        ("/nobody", None, None, 404),
        ("/a%2Fx", "GET,POST /a", "a", 400),
    ],
)
def test_what_the_gateway_answers_itself_has_no_upstream(
    served: RunningEnvoy, path: str, route: str | None, service: str | None, status: int
) -> None:
    line = logged(served, path)
    assert (line["route"], line["service"], line["upstream"], line["status"]) == (route, service, None, status)


def test_nothing_that_a_caller_sends_makes_another_line(served: RunningEnvoy) -> None:
    line = logged(served, '/a/"},{"x":1', "GET")
    assert line["status"] == 200 and line["path"].startswith("/%22")
