"""Lists of addresses, on the real Envoy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.running_envoy import ANYWHERE, RunningEnvoy

from slipway._internal.commands.envoy import Route
from slipway._internal.model.request_limits import RequestLimits
from slipway._internal.model.routes import RedirectSettings, RouteSettings

ME = "127.0.0.1"
FORBIDDEN = {"error": "forbidden", "status": 403}


@pytest.mark.parametrize(
    ("allow", "deny", "passes"),
    [
        ((ME,), None, {ME}),
        ((f"{ME}/32", "2001:db8::/32"), None, {ME}),
        (("127.0.0.0/8",), None, {ME, ANYWHERE}),
        (("10.0.0.0/8", "::/0"), None, set()),
        (None, (ME,), {ANYWHERE}),
        (None, ("2001:db8::1",), {ME, ANYWHERE}),
        (("127.0.0.0/8",), (ANYWHERE,), {ME}),
        ((ME,), ("0.0.0.0/0",), set()),
    ],
)
def test_only_those_come_who_are_allowed_and_not_denied(
    gateway: RunningEnvoy, allow: tuple[str, ...] | None, deny: tuple[str, ...] | None, passes: set[str]
) -> None:
    rules = RouteSettings(path="/a", allow=allow, deny=deny)
    gateway.serve(
        [Route("a", "/a", gateway.upstream, RequestLimits("1k"), rules=rules), Route("b", "/", gateway.upstream)]
    )
    for source in (ME, ANYWHERE):
        found = gateway.ask("/a/x", source=source)
        assert found.status == (200 if source in passes else 403)
        assert found.status == 200 or found.json == FORBIDDEN
        assert gateway.ask("/b", source=source).status == 200


def test_who_is_denied_learns_nothing_of_a_route(gateway: RunningEnvoy) -> None:
    rules = RouteSettings(path="/a", deny=(ME,), strip=True)
    route = Route("a", "/a", gateway.upstream, RequestLimits("1k"), rules=rules)
    moved = RouteSettings(path="/old", deny=(ME,), redirect=RedirectSettings(path="/new"))
    gateway.serve([route, replace(route, path="/old", rules=moved)])
    assert gateway.ask("/a", "POST", b"x" * 2000).json == FORBIDDEN
    assert gateway.ask("/a//x").json == gateway.ask("/a%2Fx").json == gateway.ask("//a").json == FORBIDDEN
    assert gateway.ask("/old/x").json == FORBIDDEN


def test_a_header_makes_nobody_allowed(gateway: RunningEnvoy) -> None:
    gateway.serve([Route("a", "/a", gateway.upstream, rules=RouteSettings(path="/a", allow=("10.1.1.1",)))])
    claims = dict.fromkeys(("X__Forwarded__For", "X__Real__IP", "Forwarded", "True__Client__IP"), "10.1.1.1")
    assert gateway.ask("/a", **claims).status == 403
