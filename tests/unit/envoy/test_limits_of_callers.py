"""Limits by consumer and by claim, in a real Envoy."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.real_gateway import RealGateway, real_gateway, upstream
from tests.tokens import AUDIENCE, ISSUER, Issuer

from slipway._internal.commands.gateway_options import Consumer, GatewayOptions
from slipway._internal.commands.gateway_route import Route
from slipway._internal.model.auth import AuthSettings, JwtSettings
from slipway._internal.model.consumer_keys import hash_key
from slipway._internal.model.route_rules import LimitSettings
from slipway._internal.model.routes import RouteSettings

OPTIONS = GatewayOptions(
    consumers={"shop": Consumer((hash_key("one"), hash_key("two"))), "bank": Consumer((hash_key("bank"),))}
)


def ask(gateway: RealGateway, key: str) -> int:
    return gateway.status("/keys", ("X-Api-Key", key))


def test_each_consumer_has_a_limit_of_his_own_whichever_key_he_has() -> None:
    rules = RouteSettings(path="/keys", auth=AuthSettings(keys=True), limit=LimitSettings(2, "day", by="consumer"))
    with upstream() as service:
        table = [Route("keys", "/keys", f"127.0.0.1:{service.port}", rules=rules)]
        with real_gateway(table, OPTIONS, service) as gateway:
            assert [ask(gateway, "none") for _ in range(5)] == [401] * 5, "who is not known uses up nobody's"
            assert [ask(gateway, key) for key in ("one", "two", "one", "two")] == [200, 200, 429, 429]
            assert [ask(gateway, "bank") for _ in range(3)] == [200, 200, 429]
            status, headers, body = gateway.ask("/keys", ("X-Api-Key", "bank"), ("X-Consumer", "other"))
            assert (status, headers["retry-after"]) == (429, "43200")
            assert body == b'{"error": "too many requests", "status": 429}\n'


def test_each_value_of_a_claim_has_a_limit_and_a_token_without_it_is_turned_down(tmp_path: Path) -> None:
    issuer = Issuer.made(tmp_path)
    auth = AuthSettings(jwt=JwtSettings(ISSUER, (AUDIENCE,), jwks=issuer.jwks()))
    limit = LimitSettings(2, "day", by="claim:https://example/tenant")
    rules = RouteSettings(path="/jwt", auth=auth, limit=limit)

    def tenant(name: object, **more: object) -> tuple[str, str]:
        return "Authorization", f"Bearer {issuer.token(**{'https://example/tenant': name}, **more)}"

    with upstream() as service:
        table = [Route("jwt", "/jwt", f"127.0.0.1:{service.port}", rules=rules)]
        with real_gateway(table, GatewayOptions(), service) as gateway:
            found = [gateway.status("/jwt", tenant("acme", sub=sub)) for sub in ("ann", "bob", "cid")]
            assert found == [200, 200, 429]
            assert gateway.status("/jwt", tenant("other")) == 200
            assert [gateway.status("/jwt", tenant(name)) for name in (None, ["acme"], {}, "a\nb", "")] == [403] * 5


@pytest.mark.parametrize("by", ["address", "route"])
def test_who_is_not_known_does_not_use_up_what_others_have(by: str) -> None:
    rules = RouteSettings(path="/keys", auth=AuthSettings(keys=True), limit=LimitSettings(2, "day", by=by))
    with upstream() as service:
        table = [Route("keys", "/keys", f"127.0.0.1:{service.port}", rules=rules)]
        with real_gateway(table, OPTIONS, service) as gateway:
            assert [ask(gateway, "none") for _ in range(5)] == [401] * 5
            assert [ask(gateway, key) for key in ("one", "bank", "one")] == [200, 200, 429]
