"""Real requests through a real Gateway: routes and rules of files, as Envoy Gateway's Envoy and Traefik serve them.

Pulumi has made the objects, Envoy Gateway reads them from the API server, and its Envoy answers. Traefik serves the
same HTTPRoutes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.callers import Seen, calling
from tests.e2e.workspace import Workspace
from tests.kubernetes import gateways
from tests.kubernetes.everyday import HERE, NAMESPACE
from tests.kubernetes.gateway_world import HOST, OTHER_HOST, RULED_HOST, Entrance, Reply, deploy, write_world
from tests.kubernetes.world import Cluster, wait_until
from tests.tokens import Issuer, encoded, with_secret

from slipway._internal.toolchain.cluster import sandbox

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

GATEWAY_NAMESPACE = f"{NAMESPACE}-gateway"
ITEMS = "/api/items"
COPIES = "slipway-test=traefik"
"""The label of the routes that Traefik serves."""


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer.made(tmp_path_factory.mktemp("issuer"), "ec")


@pytest.fixture(scope="module")
def world(live: Workspace, cluster: Cluster, issuer: Issuer) -> Iterator[Workspace]:
    """The workspace behind both Gateways, for all tests of this file; nothing of it is left afterwards."""
    try:
        gateways.install(cluster, sandbox.image_name())
        write_world(live, issuer)
        deploy(live)
        _serve_by_traefik(cluster)
        yield live
        live.restore()
        live.up(*HERE, "--yes")
        assert cluster.kubectl("get", "namespace", GATEWAY_NAMESPACE, "--ignore-not-found") == ""
    finally:
        cluster.kubectl("delete", "httproutes", "--namespace", NAMESPACE, "--selector", COPIES, "--ignore-not-found")
        gateways.remove(cluster)


def _serve_by_traefik(cluster: Cluster) -> None:
    """Give the HTTPRoutes that Pulumi made another parent, under other names: a Gateway of Traefik's class."""
    gateway = cluster.get("gateway", "gateway", "--namespace", GATEWAY_NAMESPACE)
    spec = {**gateway["spec"], "gatewayClassName": gateways.TRAEFIK}
    routes = cluster.get("httproutes", "--namespace", NAMESPACE)["items"]
    plain = [route for route in routes if RULED_HOST not in route["spec"]["hostnames"]]
    assert len(plain) == 3
    about = {"name": gateways.TRAEFIK, "namespace": GATEWAY_NAMESPACE}
    copies = [
        {
            "apiVersion": route["apiVersion"],
            "kind": "HTTPRoute",
            "metadata": {
                "name": f"{gateways.TRAEFIK}.{route['metadata']['name']}",
                "namespace": NAMESPACE,
                "labels": dict([COPIES.split("=")]),
            },
            "spec": {**route["spec"], "parentRefs": [{**about, "sectionName": "http"}]},
        }
        for route in plain
    ]
    cluster.apply({"apiVersion": gateway["apiVersion"], "kind": "Gateway", "metadata": about, "spec": spec}, *copies)


@pytest.fixture(params=[gateways.ENVOY_GATEWAY, gateways.TRAEFIK])
def either(request: pytest.FixtureRequest, world: Workspace, cluster: Cluster) -> Entrance:
    """The Gateway of one product, then of the other."""
    return _entrance(cluster, request.param)


@pytest.fixture
def envoy(world: Workspace, cluster: Cluster) -> Entrance:
    """The Gateway that Envoy Gateway serves, with all policies."""
    found = _entrance(cluster, gateways.ENVOY_GATEWAY)
    wait_until(lambda: found.answers("/denied", 403, host=RULED_HOST), "the rules hold")
    return found


def _entrance(cluster: Cluster, implementation: str) -> Entrance:
    found = Entrance(gateways.address(cluster, implementation))
    wait_until(lambda: found.answers(ITEMS), f"{implementation} serves {HOST}")
    wait_until(lambda: found.answers("/echo", host=OTHER_HOST), f"{implementation} serves {OTHER_HOST}")
    return found


@contextmanager
def requests(entrance: Entrance, path: str = ITEMS) -> Iterator[Seen]:
    """Request a page through the Gateway for the time of a `with`."""
    with calling(80, path, host=entrance.address, headers={"Host": HOST}) as seen:
        wait_until(lambda: len(seen.answers) > 10, "it is answered")
        yield seen
        enough = len(seen.answers) + 20
        wait_until(lambda: len(seen.answers) > enough, "it is still answered")


def test_a_path_stands_for_itself_and_all_below(either: Entrance) -> None:
    assert either.ask("/echo").got["path"] == "/echo"
    assert either.ask("/echo/a/b?c=d").got["path"] == "/echo/a/b"
    assert "word" not in either.ask("/echoes").text  # the page's service has all that no other route takes


def test_a_host_has_only_the_routes_that_are_for_it(either: Entrance) -> None:
    assert either.ask("/echo/a", host=OTHER_HOST).got["path"] == "/of-the-other-host/a"
    assert either.ask("/echo/a", host=HOST).got["path"] == "/echo/a"
    assert either.ask("/strip", host=OTHER_HOST).status == 404  # the page's service is for the stack's host
    assert either.ask("/echo", host="unknown.example").status == 404


def test_the_service_gets_another_path_and_is_told_what_it_did_not_get(either: Entrance) -> None:
    stripped = either.ask("/strip/a/b").got
    assert (stripped["path"], stripped["headers"]["x-forwarded-prefix"]) == ("/a/b", "/strip")
    assert either.ask("/strip").got["path"] == "/"
    assert either.ask("/rewrite/a").got["path"] == "/internal/v2/a"


def test_a_route_takes_its_methods_alone(either: Entrance) -> None:
    assert either.ask("/reading").got["method"] == "GET"
    assert "word" not in either.ask("/reading", "POST").text


def test_headers_are_set_and_removed_both_ways(either: Entrance) -> None:
    reply = either.ask("/headers", headers={"Cookie": "a=b", "X-Tier": "lead"})
    assert reply.got["headers"]["x-tier"] == "gold"
    assert "cookie" not in reply.got["headers"]
    assert reply.headers["x-frame-options"] == "DENY"
    assert "x-powered-by" not in reply.headers


def test_a_redirect_names_another_place_and_keeps_the_rest(either: Entrance) -> None:
    reply = either.ask("/old/a?b=c")
    assert reply.status == 301
    assert reply.headers["location"] == "http://www.example.com/new/a?b=c"


def test_nobody_says_for_the_gateway_where_a_request_came_from(envoy: Entrance) -> None:
    lies = {
        "X-Real-IP": "192.0.2.1",
        "X_Real_IP": "192.0.2.2",
        "X-Forwarded-Host": "lie.example",
        "X-Consumer": "root",
        "X-User": "root",
        "X_User": "root",
        "X-Slipway-Caller": "root",
        "X_Fine": "kept",
    }
    got = envoy.ask("/echo", headers=lies).got["headers"]
    assert "192.0.2" not in got["x-real-ip"]
    assert (got["x-forwarded-host"], got["x_fine"]) == (HOST, "kept")
    assert not {"x_real_ip", "x-consumer", "x-user", "x_user", "x-slipway-caller"} & got.keys()


@pytest.mark.parametrize(
    "path", ["//denied", "/./denied", "/echo/../denied", "/denied%2fa", "/%2fdenied", "/denied%5ca"]
)
def test_no_way_to_write_a_path_leads_around_its_rules(envoy: Entrance, path: str) -> None:
    assert envoy.ask(path, host=RULED_HOST).status in (400, 403)


def test_pages_of_named_origins_alone_may_call(envoy: Entrance) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
    may = envoy.ask("/pages", "OPTIONS", host=RULED_HOST, headers=asked)
    assert (may.status, may.headers["access-control-allow-origin"]) == (200, "https://app.example")
    assert may.headers["access-control-allow-methods"].replace(" ", "") == "GET,PUT"
    assert (may.headers["access-control-allow-credentials"], may.headers["access-control-max-age"]) == ("true", "600")
    other = envoy.ask("/pages", "OPTIONS", host=RULED_HOST, headers={**asked, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    read = envoy.ask("/pages", host=RULED_HOST, headers={"Origin": "https://app.example"})
    assert (read.headers["access-control-expose-headers"], read.got["method"]) == ("X-Total", "GET")


def test_a_token_is_believed_only_if_all_of_it_is_good(envoy: Entrance, issuer: Issuer, tmp_path: Path) -> None:
    def ask(token: str | None, path: str = "/tokens", **headers: str) -> Reply:
        proof = {"Authorization": f"Bearer {token}"} if token else {}
        return envoy.ask(path, host=RULED_HOST, headers={**proof, **headers})

    good = ask(issuer.token(), x_user="root", **{"X-User": "root"}).got["headers"]
    assert good["x-user"] == "ann"
    assert not {"authorization", "x_user"} & good.keys()
    now = int(time.time())
    stranger = Issuer.made(tmp_path, "ec")
    unsigned = f"{encoded({'alg': 'none'})}.{issuer.token().split('.')[1]}."
    bad = {
        "none": None,
        "expired": issuer.token(exp=now - 3600),
        "not yet": issuer.token(nbf=now + 3600),
        "another issuer": issuer.token(iss="https://other.example"),
        "unsigned": unsigned,
        "a stranger's": stranger.token(),
        "by a secret": with_secret(issuer.public_pem.encode()),
        "changed": f"{issuer.token()[:-6]}AAAAAA",
    }
    assert {why: ask(token).status for why, token in bad.items()} == dict.fromkeys(bad, 401)
    assert ask(issuer.token(exp=None)).status == 403
    assert ask(issuer.token(aud="invoices")).status == 403
    assert envoy.ask(f"/tokens?access_token={issuer.token()}", host=RULED_HOST).status == 401


def test_claims_are_texts_or_hold_them(envoy: Entrance, issuer: Issuer) -> None:
    def ask(**claims: Any) -> int:
        headers = {"Authorization": f"Bearer {issuer.token(**claims)}"}
        return envoy.ask("/claims", host=RULED_HOST, headers=headers).status

    roles = ["night", "staff"]
    assert ask(scope="orders:read orders:write", roles=roles) == 200
    assert ask(scope="orders:write", roles=roles) == 200
    assert ask(scope=["orders:write"], roles=roles) == 200
    assert ask(scope="orders:writer", roles=roles) == 403
    assert ask(scope="orders:write", roles=["staff"]) == 403
    assert ask(scope="orders:write", roles="staff") == 403
    assert ask(roles=roles) == 403
    forwarded = issuer.token(scope="orders:write", roles=roles)
    reply = envoy.ask("/claims", host=RULED_HOST, headers={"Authorization": f"Bearer {forwarded}"})
    assert reply.got["headers"]["authorization"] == f"Bearer {forwarded}"


def test_more_requests_than_a_limit_allows_get_429(envoy: Entrance) -> None:
    found = [envoy.ask("/limited", host=RULED_HOST) for _ in range(5)]
    assert [reply.status for reply in found] == [200, 200, 200, 429, 429]
    assert int(found[-1].headers["x-ratelimit-reset"]) > 0


def test_each_subject_of_a_token_has_a_limit_of_its_own(envoy: Entrance, issuer: Issuer) -> None:
    def ask(**claims: Any) -> int:
        proof = {"Authorization": f"Bearer {issuer.token(**claims)}"}
        return envoy.ask("/limited-tokens", host=RULED_HOST, headers=proof).status

    assert [ask(sub="ann") for _ in range(3)] == [200, 200, 429]
    assert [ask(sub="bob") for _ in range(3)] == [200, 200, 429]
    assert [ask(sub=None), ask(sub=["ann"])] == [403, 401]


def test_addresses_decide_who_is_let_in(envoy: Entrance) -> None:
    assert envoy.ask("/allowed", host=RULED_HOST).status == 200
    for path in ("/not-allowed", "/denied"):
        reply = envoy.ask(path, host=RULED_HOST, headers={"X-Forwarded-For": "192.0.2.1"})
        assert reply.status == 403


def test_an_answer_that_may_be_asked_for_again_is(envoy: Entrance) -> None:
    assert envoy.ask("/flaky/a", host=RULED_HOST).got["times"] == 2


def test_a_body_is_as_large_as_it_may_be(envoy: Entrance) -> None:
    assert envoy.ask("/small", "POST", host=RULED_HOST, body=b"x" * 1000).got["size"] == 1000
    assert envoy.ask("/small", "POST", host=RULED_HOST, body=b"x" * 5000).status == 413


def test_another_server_says_who_may_call(envoy: Entrance) -> None:
    let_in = envoy.ask(
        "/asked/a", host=RULED_HOST, headers={"Authorization": "let me in", "X-User": "root", "X-Other": "mine"}
    )
    assert let_in.got["headers"]["x-other"] == "mine"
    assert envoy.ask("/asked/a", host=RULED_HOST, headers={"X-User": "root"}).status == 401


def test_a_connection_changes_its_protocol_only_where_it_may(envoy: Entrance) -> None:
    change = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    assert envoy.ask("/no-change", host=RULED_HOST, headers=change).status == 403
    assert envoy.ask("/no-change", host=RULED_HOST).status == 200
    assert envoy.ask("/echo", headers=change).status != 403


def test_a_change_is_rolled_out_through_the_gateway_without_a_failed_request(world: Workspace, envoy: Entrance) -> None:
    """A rollout under load: callers with kept and with new connections get old and new answers, and no failure."""
    with requests(envoy, "/echo") as seen:
        world.edit("services/api/app/main.py", 'WORD = "first"', 'WORD = "second"')
        deploy(world)
        wait_until(lambda: seen.answers and "second" in seen.answers[-1], "the new pod answers")
    assert seen.failures == []
    assert seen.count('"first"') and seen.count('"second"')


def test_other_rules_end_no_request_and_hold_at_once(world: Workspace, envoy: Entrance) -> None:
    """Changed rules under load: a route that everybody could call asks for tokens, and others never notice."""
    assert envoy.ask("/rewrite").status == 200
    with requests(envoy, "/echo") as seen:
        world.edit(
            "services/api/service.toml",
            'path = "/rewrite"\n',
            'path = "/rewrite"\nauth.jwt = { issuer = "https://issuer.example", audiences = ["orders"], '
            'jwks = "issuer-keys.json" }\n',
        )
        deploy(world)
        wait_until(lambda: envoy.answers("/rewrite", 401), "the new rule holds")
        assert envoy.ask("/rewrite").status == 401
    assert seen.failures == []
