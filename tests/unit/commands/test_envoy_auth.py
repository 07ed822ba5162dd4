"""Who may call, by the gateway's own configuration in a real Envoy."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import random
import time
from collections.abc import Iterator

import pytest
from tests.real_gateway import RealGateway, real_gateway, upstream

from slipway._internal.commands.envoy import parse_config, render_config
from slipway._internal.commands.envoy_auth_scripts import MAX_KEY_BYTES
from slipway._internal.commands.gateway_options import Consumer, GatewayOptions
from slipway._internal.commands.gateway_route import Route
from slipway._internal.model.auth import AuthSettings, BasicSettings, JwtSettings, KeySettings
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.request_limits import RequestLimits
from slipway._internal.model.routes import RouteSettings

SHOP, BANK, LONG = "slw_shop", "slw_bank", "x" * MAX_KEY_BYTES
LENGTHS = [*range(1, 201), 255, 256, 447, 448, 511, 512]
GENERATOR = random.Random(7)
BYTES = [GENERATOR.randbytes(length) for length in LENGTHS] + [bytes(range(256)), b"\0", b"\xff" * 64, b":" * 55]


def hashed(*keys: str | bytes) -> tuple[str, ...]:
    return tuple(hashlib.sha256(key if isinstance(key, bytes) else key.encode()).hexdigest() for key in keys)


OPTIONS = GatewayOptions(
    consumers={
        "shop": Consumer(hashed(SHOP, "slw_shop-next", LONG), ("partners",)),
        "bank": Consumer(hashed(BANK)),
        "bytes": Consumer(hashed(*BYTES)),
        "nobody": Consumer(hashed("", "x" * (MAX_KEY_BYTES + 1))),
    }
)


def routes(at: str) -> list[Route]:
    auths = {
        "/keys": AuthSettings(keys=True),
        "/own": AuthSettings(keys=KeySettings("x-own-key", consumers=("bank",))),
        "/partners": AuthSettings(keys=KeySettings(groups=("partners",))),
        "/basic": AuthSettings(basic=True),
        "/basic/shop": AuthSettings(basic=BasicSettings(("shop",))),
    }
    ruled = [
        Route(path[1:].replace("/", "-"), path, at, rules=RouteSettings(path=path, auth=auth))
        for path, auth in auths.items()
    ]
    limited = RouteSettings(path="/limited", auth=AuthSettings(keys=True))
    return [Route("open", "/", at), *ruled, Route("limited", "/limited", at, RequestLimits("1k"), rules=limited)]


@pytest.fixture(scope="module")
def gateway() -> Iterator[RealGateway]:
    with upstream() as service, real_gateway(routes(f"127.0.0.1:{service.port}"), OPTIONS, service) as front:
        yield front


def basic(name: str, key: str | bytes) -> tuple[str, str]:
    raw = name.encode() + b":" + (key if isinstance(key, bytes) else key.encode())
    return "Authorization", f"Basic {base64.b64encode(raw).decode()}"


def test_a_known_key_is_let_in_and_the_service_gets_its_owner_and_not_the_key(gateway: RealGateway) -> None:
    for key in (SHOP, "slw_shop-next", LONG):
        seen = gateway.seen("/keys/x", ("X-Api-Key", key))
        assert ("x-consumer", "shop") in seen
        assert key not in str(seen) and "api-key" not in str(seen)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("X-Api-Key", ""),),
        (("X-Api-Key", "slw_sho"),),
        (("X-Api-Key", "slw_shopp"),),
        (("X-Api-Key", f"{SHOP},{SHOP}"),),
        (("X-Api-Key", SHOP), ("X-Api-Key", SHOP)),
        (("X-Api-Key", SHOP), ("x-api-key", "other")),
        (("X-Api-Key", ""), ("X-Api-Key", SHOP)),
        (("X-Api-Key", "x" * (MAX_KEY_BYTES + 1)),),
        (("X-Api-Key", hashed(SHOP)[0]),),
        (("X-Api-Key", f"key.{hashed(SHOP)[0]}"),),
        (("X_Api_Key", SHOP),),
        (("Authorization", SHOP),),
        (("Authorization", f"Bearer {SHOP}"),),
        (("X-Consumer", "shop"),),
        (("X-Own-Key", SHOP),),
        (("Cookie", f"x-api-key={SHOP}"),),
    ],
)
def test_anything_else_than_one_known_key_in_its_header_is_401(
    gateway: RealGateway, headers: tuple[tuple[str, str], ...]
) -> None:
    status, answered, body = gateway.ask("/keys", *headers)
    assert (status, answered["www-authenticate"]) == (401, 'ApiKey realm="keys", header="x-api-key"')
    assert body == b'{"error": "unauthorized", "status": 401}\n'


def test_a_key_in_the_address_is_none(gateway: RealGateway) -> None:
    assert gateway.status(f"/keys?x-api-key={BANK}") == 401


def test_whoever_has_a_key_and_is_not_meant_is_told_403(gateway: RealGateway) -> None:
    assert gateway.status("/own", ("X-Own-Key", BANK)) == 200
    assert gateway.status("/own", ("X-Own-Key", SHOP)) == 403
    assert gateway.status("/own", ("X-Api-Key", BANK)) == 401
    assert gateway.status("/partners", ("X-Api-Key", SHOP)) == 200
    assert gateway.status("/partners", ("X-Api-Key", BANK)) == 403
    status, headers, body = gateway.ask("/partners", ("X-Api-Key", BANK), ("Accept", "text/html"))
    assert (status, headers["content-type"]) == (403, "text/html")
    assert b"<h1>403: forbidden</h1>" in body


@pytest.mark.parametrize("name", ["X-Consumer", "x-consumer", "X_Consumer", "x_consumer", "X-CONSUMER"])
@pytest.mark.parametrize("path", ["/", "/keys", "/basic"])
def test_nobody_can_say_himself_who_he_is(gateway: RealGateway, path: str, name: str) -> None:
    proof = {"/keys": [("X-Api-Key", SHOP)], "/basic": [basic("shop", SHOP)]}.get(path, [])
    seen = gateway.seen(path, (name, "bank"), *proof, (name, "root"))
    found = [value for header, value in seen if header.replace("_", "-") == "x-consumer"]
    assert found == (["shop"] if proof else [])


def test_a_password_is_a_key_of_the_user_who_is_named(gateway: RealGateway) -> None:
    seen = gateway.seen("/basic", basic("shop", SHOP))
    assert ("x-consumer", "shop") in seen and "authorization" not in dict(seen)
    assert gateway.status("/basic/shop", basic("shop", SHOP)) == 200
    assert gateway.status("/basic/shop", basic("bank", BANK)) == 403
    assert gateway.ask("/basic")[1]["www-authenticate"] == 'Basic realm="basic", charset="UTF-8"'


@pytest.mark.parametrize(
    "headers",
    [
        (basic("bank", SHOP),),
        (basic("", SHOP),),
        (basic("shop", ""),),
        (basic("shop", SHOP), basic("shop", SHOP)),
        (basic("shop", f"{SHOP}\0"),),
        (basic("shop\0", SHOP),),
        (("Authorization", "Basic"),),
        (("Authorization", "Basic !!!!"),),
        (("Authorization", f"Basic {SHOP}"),),
        (("Authorization", basic("shop", SHOP)[1] + "="),),
        (("Authorization", basic("shop", SHOP)[1] + " x"),),
        (("Authorization", "Basic " + "A" * 4000),),
    ],
)
def test_a_password_of_somebody_else_or_written_otherwise_is_401(
    gateway: RealGateway, headers: tuple[tuple[str, str], ...]
) -> None:
    assert gateway.status("/basic", *headers) == 401


def test_keys_of_all_bytes_and_lengths_are_hashed_as_everywhere(gateway: RealGateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    for key in BYTES:
        for sent, status in ((key, 200), (key[:-1] + bytes([key[-1] ^ 1]), 401)):
            connection.request("GET", "/basic", headers=dict([basic("bytes", sent)]))
            reply = connection.getresponse()
            reply.read()
            assert reply.status == status, (len(key), key)


def test_keys_that_are_too_long_or_empty_are_refused_even_if_known(gateway: RealGateway) -> None:
    assert gateway.status("/basic", basic("nobody", "")) == 401
    assert gateway.status("/basic", basic("nobody", "x" * (MAX_KEY_BYTES + 1))) == 401
    assert gateway.status("/keys", ("X-Api-Key", "x" * (MAX_KEY_BYTES + 1))) == 401


def test_a_route_for_everybody_stays_one(gateway: RealGateway) -> None:
    seen = gateway.seen("/", ("X-Api-Key", "mine"), ("Authorization", "Basic mine"))
    assert {("x-api-key", "mine"), ("authorization", "Basic mine")} <= {*seen}


@pytest.mark.parametrize("path", ["/keys%2Fx", "//keys", "/keys/", "/%6beys", "/./keys", "/x/../keys", "/keys?/../"])
def test_no_way_to_write_a_path_leads_around_a_check(gateway: RealGateway, path: str) -> None:
    assert gateway.status(path) in (400, 401)


def test_the_configuration_holds_no_key_and_is_read_back(gateway: RealGateway) -> None:
    config = render_config(routes("up:1"), OPTIONS)
    assert SHOP not in "".join(config.values())
    found = parse_config(config)
    assert found.options == OPTIONS
    assert sorted(found.routes, key=str) == sorted(routes("up:1"), key=str)
    assert SHOP not in gateway.log()


def test_the_log_says_who_called_and_nothing_of_keys(gateway: RealGateway) -> None:
    for path, key in (("/keys/who", SHOP), ("/keys/who", "slw_nobody"), ("/", SHOP)):
        gateway.ask(path, ("X-Api-Key", key))
    deadline = time.monotonic() + 10
    while '"path":"/keys/who"' not in gateway.log() or time.monotonic() < deadline - 9:
        assert time.monotonic() < deadline, gateway.log()[-2000:]
        time.sleep(0.1)
    lines = [json.loads(line) for line in gateway.log().splitlines() if '"path":"/keys/who"' in line]
    assert [(line["consumer"], line["status"]) for line in lines] == [("shop", 200), (None, 401)]
    assert SHOP not in gateway.log()


def test_a_changed_key_changes_only_the_table_of_routes() -> None:
    rotated = GatewayOptions(consumers={"shop": Consumer(hashed("slw_other"))})
    before, after = render_config(routes("up:1"), OPTIONS), render_config(routes("up:1"), rotated)
    assert [name for name, text in before.items() if after[name] != text] == ["routes.json"]
    everybody = render_config([Route("open", "/", "up:1")])
    assert everybody["listeners.json"] == before["listeners.json"]


def test_without_any_consumer_nobody_is_let_in() -> None:
    nobody = GatewayOptions()
    with upstream() as service, real_gateway(routes(f"127.0.0.1:{service.port}"), nobody, service) as front:
        assert front.status("/keys", ("X-Api-Key", SHOP)) == 401
        assert front.status("/basic", basic("shop", SHOP)) == 401
        assert front.status("/") == 200


@pytest.mark.parametrize(
    "mistake", [('"kind": "keys"', '"kind": "new"'), ('"remove"', '"other"'), ("sha256(text)", "no(text)")]
)
def test_a_mistake_in_a_check_lets_nobody_in(mistake: tuple[str, str]) -> None:
    with upstream() as service:
        table = routes(f"127.0.0.1:{service.port}")
        with real_gateway(table, OPTIONS, service, mistake) as front:
            assert front.status("/keys", ("X-Api-Key", SHOP)) == 500
            assert front.status("/") == 200


@pytest.mark.parametrize(
    "auth",
    [
        AuthSettings(),
        AuthSettings(keys=True, basic=True),
        AuthSettings(keys=KeySettings("a\nb")),
        AuthSettings(external="x"),
        AuthSettings(jwt=JwtSettings("i", ("a",))),
        AuthSettings(jwt=JwtSettings("i", (), url="https://i")),
        AuthSettings(jwt=JwtSettings("i", ("a",), jwks="keys.json")),
        AuthSettings(jwt=JwtSettings("i", ("a",), jwks='{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}')),
    ],
)
def test_what_a_file_could_not_say_is_refused_here_too(auth: AuthSettings) -> None:
    with pytest.raises(ConfigError, match="api"):
        render_config([Route("api", "/api", "up:1", rules=RouteSettings(path="/api", auth=auth))])


@pytest.mark.parametrize(
    "headers", [(("Connection", "Upgrade"), ("Upgrade", "websocket")), (("Expect", "100-continue"),)]
)
def test_no_form_of_a_request_leads_around_a_check(gateway: RealGateway, headers: tuple[tuple[str, str], ...]) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PURGE"):
        for path in ("/keys", "/limited/x"):
            assert gateway.ask(path, *headers, method=method)[0] in (401, 403), (method, path)


def test_a_body_is_not_read_before_its_sender_is_known(gateway: RealGateway) -> None:
    for how in ((("Content-Length", "9"),), (("Transfer-Encoding", "chunked"),)):
        assert gateway.ask("/limited", *how, method="POST")[0] == 401
