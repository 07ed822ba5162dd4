"""Tokens of an issuer, in a real Envoy: what it signed is let in, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.real_gateway import RealGateway, real_gateway, upstream
from tests.tokens import AUDIENCE, ISSUER, Issuer, encoded, with_secret

from slipway._internal.commands.envoy import parse_config, render_config
from slipway._internal.commands.gateway_options import GatewayOptions
from slipway._internal.commands.gateway_route import Route
from slipway._internal.model.auth import AuthSettings, JwtSettings
from slipway._internal.model.routes import RouteSettings


@dataclass(frozen=True)
class World:
    gateway: RealGateway
    rsa: Issuer
    ec: Issuer
    ed25519: Issuer
    stranger: Issuer

    def status(self, token: str, path: str = "/jwt") -> int:
        return self.gateway.status(path, bearer(token))


def bearer(token: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {token}"


def routes(at: str, jwks: str) -> list[Route]:
    plain: dict[str, Any] = {"issuer": ISSUER, "audiences": (AUDIENCE, "also"), "jwks": jwks}
    headers = {"sub": "X-User", "https://example/tenant": "X-User-Tenant", "level": "X-Level"}
    settings = {
        "/jwt": JwtSettings(**plain),
        "/claims": JwtSettings(**plain, claims={"scope": "orders", "roles": ("reader", "writer")}),
        "/headers": JwtSettings(**plain, headers=headers),
        "/kept": JwtSettings(**plain, forward=True),
    }
    ruled = [
        Route(path[1:], path, at, rules=RouteSettings(path=path, auth=AuthSettings(jwt=jwt)))
        for path, jwt in settings.items()
    ]
    return [Route("open", "/", at), *ruled]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("gateway")
    issuers = [Issuer.made(folder, "rsa"), Issuer.made(folder, "ec", "two"), Issuer.made(folder, "ed25519", "three")]
    jwks = json.dumps({"keys": [issuer.jwk() for issuer in issuers]})
    stranger = Issuer.made(folder, "rsa", "stranger")
    with upstream() as service:
        table = routes(f"127.0.0.1:{service.port}", jwks)
        with real_gateway(table, GatewayOptions(), service) as front:
            yield World(front, *issuers, Issuer(stranger.key, "rsa", "one"))


def test_a_token_of_the_issuer_is_let_in_and_the_service_does_not_get_it(world: World) -> None:
    for issuer in (world.rsa, world.ec, world.ed25519):
        seen = world.gateway.seen("/jwt/x", bearer(issuer.token()))
        assert "authorization" not in dict(seen)
    assert world.status(world.rsa.token(aud=["else", "also"])) == 200
    assert ("authorization", f"Bearer {(token := world.rsa.token())}") in world.gateway.seen("/kept", bearer(token))
    assert world.gateway.status("/jwt", ("Authorization", f"bearer {token}")) == 200


NOW = int(time.time())
ATTACKS: dict[str, Callable[[World], str]] = {
    "no algorithm": lambda world: world.rsa.token({"alg": "none"}).rpartition(".")[0] + ".",
    "no algorithm, signed": lambda world: world.rsa.token({"alg": "none"}),
    "no algorithm in capitals": lambda world: world.rsa.token({"alg": "NONE"}),
    "algorithm left out": lambda world: world.rsa.token({"alg": None}),
    "another issuer": lambda world: world.rsa.token(iss="https://issuer.example/"),
    "no issuer": lambda world: world.rsa.token(iss=None),
    "issuer of another type": lambda world: world.rsa.token(iss=[ISSUER]),
    "expired": lambda world: world.rsa.token(exp=NOW - 120),
    "never expires": lambda world: world.rsa.token(exp=None),
    "expiry of another type": lambda world: world.rsa.token(exp="never"),
    "negative expiry": lambda world: world.rsa.token(exp=-1),
    "not yet valid": lambda world: world.rsa.token(nbf=NOW + 600),
    "key confusion with PEM": lambda world: with_secret(world.rsa.public_pem.encode()),
    "key confusion with JWK": lambda world: with_secret(json.dumps(world.rsa.jwk()).encode()),
    "key confusion with the modulus": lambda world: with_secret(world.rsa.jwk()["n"].encode()),
    "an empty secret": lambda _world: with_secret(b""),
    "unknown key": lambda world: world.rsa.token({"kid": "unknown"}),
    "another's key of that name": lambda world: world.stranger.token(),
    "another's key without a name": lambda world: world.stranger.token({"kid": None}),
    "own key within": lambda world: world.stranger.token({"jwk": world.stranger.jwk(), "kid": None}),
    "another kind of key": lambda world: world.ec.token({"alg": "RS256", "kid": "one"}),
    "signature of another": lambda world: world.rsa.token().rpartition(".")[0] + "." + encoded(b"x" * 256),
    "no signature": lambda world: world.rsa.token().rpartition(".")[0] + ".",
    "ECDSA of zeros": lambda world: world.ec.token().rpartition(".")[0] + "." + encoded(bytes(64)),
    "changed claims": lambda world: _with_claims(world.rsa.token(), {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 600}),
    "five parts": lambda world: world.rsa.token() + ".x.y",
    "two tokens in one": lambda world: f"{world.rsa.token()},{world.rsa.token()}",
    "two tokens after each other": lambda world: f"{world.rsa.token()} {world.rsa.token()}",
    "no token": lambda _world: "",
    "nonsense": lambda _world: "a.b.c",
    "too long": lambda world: world.rsa.token(more="x" * 20_000),
}


def _with_claims(token: str, claims: dict[str, Any]) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{encoded(claims)}.{signature}"


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_the_issuer_did_not_sign_for_now_is_401(world: World, attack: str) -> None:
    status, headers, body = world.gateway.ask("/jwt", bearer(ATTACKS[attack](world)))
    assert (status, body) == (401, b'{"error": "unauthorized", "status": 401}\n')
    assert headers["www-authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("audience", ["another", None, [], ["another"], "ordersx", "", {"orders": True}, 7])
def test_a_token_for_another_audience_or_for_none_is_turned_down(world: World, audience: Any) -> None:
    assert world.status(world.rsa.token(aud=audience)) in (401, 403)


def test_a_token_elsewhere_than_in_its_one_header_is_none(world: World) -> None:
    token = world.rsa.token()
    status = world.gateway.status
    assert status("/jwt") == 401
    for path in (f"/jwt?access_token={token}", f"/jwt?token={token}", f"/jwt?Authorization=Bearer%20{token}"):
        assert status(path) == 401
    assert status("/jwt", bearer(token), bearer(token)) == 401
    assert status("/jwt", bearer("x"), bearer(token)) == 401
    assert status("/jwt", bearer(token), ("authorization", "Basic eDp5")) == 401
    assert status("/jwt", ("X-Authorization", f"Bearer {token}")) == 401
    assert status("/jwt", ("Authorization", token)) == 401
    assert status("/jwt", ("Cookie", f"access_token={token}")) == 401
    assert status("/jwt", ("Authorization", f"Basic x, Bearer {token}")) == 401


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"scope": "orders", "roles": ["writer", "reader", "x"]}, 200),
        ({"scope": "more orders", "roles": ["writer", "reader"]}, 200),
        ({"scope": ["orders"], "roles": ["writer", "reader"]}, 200),
        ({"scope": "orders", "roles": ["reader"]}, 403),
        ({"scope": "orders", "roles": "reader writer"}, 403),
        ({"scope": "ordersx", "roles": ["writer", "reader"]}, 403),
        ({"scope": "orders"}, 403),
        ({"roles": ["writer", "reader"]}, 403),
        ({"scope": {"orders": True}, "roles": ["writer", "reader"]}, 403),
        ({"scope": True, "roles": ["writer", "reader"]}, 403),
        ({"scope": [["orders"]], "roles": ["writer", "reader"]}, 403),
        ({"scope": 7, "roles": ["writer", "reader"]}, 403),
    ],
)
def test_claims_must_be_or_hold_what_is_asked(world: World, claims: dict[str, Any], status: int) -> None:
    given, headers, _ = world.gateway.ask("/claims", bearer(world.rsa.token(**claims)))
    assert given == status
    if status == 403:
        assert headers["www-authenticate"] == 'Bearer realm="claims", error="insufficient_scope"'


def test_a_claim_is_a_header_and_the_callers_own_is_dropped(world: World) -> None:
    lies = [
        (name, "root") for name in ("X-User", "x_user", "X-User-Tenant", "x_user-tenant", "X_USER_TENANT", "X-Level")
    ]
    token = world.rsa.token(**{"https://example/tenant": "acme", "level": 3})
    seen = [
        (name, value)
        for name, value in world.gateway.seen("/headers", *lies, bearer(token))
        if name.startswith(("x-u", "x_u", "x-le"))
    ]
    assert sorted(seen) == [("x-level", "3"), ("x-user", "ann"), ("x-user-tenant", "acme")]
    bare = dict(world.gateway.seen("/headers", *lies, bearer(world.rsa.token(sub=None))))
    assert not {"x-user", "x_user", "x-user-tenant", "x-level"} & bare.keys()


@pytest.mark.parametrize("path", ["/", "/jwt", "/kept"])
def test_a_header_that_says_who_calls_on_one_route_is_dropped_on_all(world: World, path: str) -> None:
    seen = world.gateway.seen(path, ("X-User", "root"), ("X_User", "root"), bearer(world.rsa.token()))
    assert not [name for name, _ in seen if "user" in name]


@pytest.mark.parametrize(
    "claim",
    [
        "ann\r\nX-Admin: yes",
        "ann\n",
        "\nann",
        "a\0b",
        "",
        " ann",
        "ann ",
        "jos\u00e9",
        "x" * 1025,
        ["ann"],
        {"a": 1},
        1.5,
        2**60,
    ],
)
def test_a_claim_that_is_no_headers_text_is_403_and_no_header(world: World, claim: Any) -> None:
    assert world.status(world.rsa.token(sub=claim), "/headers") in (401, 403)


def test_it_is_read_back(tmp_path: Path) -> None:
    table = routes("up:1", Issuer.made(tmp_path).jwks())
    assert sorted(parse_config(render_config(table)).routes, key=str) == sorted(table, key=str)
