"""What passes the gateway, in the real Envoy of the workspace's base: all that a service sends, and all it is sent."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import First
from tests.e2e.provider_world import free_port, wait
from tests.e2e.upstream import Upstream, upstream
from tests.running_envoy import WHOLE, write_whole

from slipway._internal.commands import envoy_routes
from slipway._internal.commands.envoy import LISTEN_PORT, Route, render_config
from slipway._internal.commands.envoy_listener import CONFIG_DIR
from slipway._internal.insight import requests
from slipway._internal.model import bases_lock
from slipway._internal.model.request_limits import RequestLimits
from slipway._internal.model.routes import HeaderSettings, RedirectSettings, RouteSettings
from slipway._internal.model.workspace import Service, ServiceSettings
from slipway._internal.rollout import envoy
from slipway._internal.run.process import ProcessResult, run

pytestmark = [pytest.mark.engine]
KB, MB = 1 << 10, 1 << 20
RULES = (
    RouteSettings(path="/strip", strip=True),
    RouteSettings(path="/v1", rewrite="/internal/v2"),
    RouteSettings(
        path="/reads",
        methods=("GET", "HEAD"),
        request_headers=HeaderSettings({"X-Tier": "100% gold"}, ("Cookie",)),
        response_headers=HeaderSettings({"X-Frame-Options": "DENY"}, ("Set-Cookie",)),
    ),
    RouteSettings(path="/moved", redirect=RedirectSettings(path="/new", status=301)),
    RouteSettings(path="/away", redirect=RedirectSettings(scheme="https", host="www.example.com")),
    RouteSettings(path="/short", timeout=1),
)

ALL = [RouteSettings(path="/"), RouteSettings(path="/small"), RouteSettings(path="/quick"), *RULES]
AS_SERVICES = [Service("all", Path(), ServiceSettings(kind="k", port=80, routes=tuple(ALL)))]


@dataclass(frozen=True)
class Gateway:
    """A gateway before the upstream: `/` without limits of its own, `/small` and `/quick` with some."""

    port: int
    container: str
    service: Upstream

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[Any, bytes]:
        """Request a path; return the response and its whole body."""
        connection = self.connect()
        named = {name.replace("__", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=named)
        reply = connection.getresponse()
        return reply, reply.read()

    def told(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> dict[str, Any]:
        """Return what the service says it was sent, its headers by lower-case name."""
        reply, text = self.ask(path, method, body, **headers)
        assert reply.status == 200, text
        found: dict[str, Any] = json.loads(text)
        return {**found, "headers": {name.lower(): value for name, value in found["headers"]}}

    def raw(self, request: bytes) -> bytes:
        """Send bytes and return all that comes until the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as talk:
            talk.sendall(request)
            return b"".join(iter(lambda: talk.recv(65536), b""))

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def log(self) -> str:
        return run(["docker", "logs", self.container]).output


@pytest.fixture(scope="module")
def gateway(first: First, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    image = bases_lock.load(first.workspace.root).bases[bases_lock.GATEWAY_BASE]
    with upstream() as service, started(image, service, tmp_path_factory.mktemp("gateway")) as front:
        yield front


@contextmanager
def started(image: str, service: Upstream, folder: Path) -> Iterator[Gateway]:
    """Run the gateway's image on the machine's own network, where the upstream is."""
    port, at = free_port(), f"127.0.0.1:{service.port}"
    routes = [
        Route("all", "/", at),
        Route("small", "/small", at, RequestLimits(body="1m")),
        Route("quick", "/quick", at, RequestLimits(connect=1, idle=1)),
        Route("gone", "/gone", "127.0.0.1:9"),
        *(Route(rules.path[1:], rules.path, at, rules=rules) for rules in RULES),
    ]
    for name, text in render_config(routes).items():
        here = text.replace(f'"port_value": {LISTEN_PORT}', f'"port_value": {port}').replace("0.0.0.0", "127.0.0.1")
        (folder / name).write_text(here)
    folder.chmod(0o755)
    name = f"slipway-test-gateway-{port}"
    words = ["docker", "run", "--detach", "--rm", "--name", name, "--network", "host", "--read-only"]
    words += ["--tmpfs", "/tmp", "--volume", f"{folder}:{CONFIG_DIR}", "--entrypoint", "control", image]
    done = run([*words, *envoy.start_command()[1:]])
    assert done.code == 0, done.output
    try:
        front = Gateway(port, name, service)
        wait(lambda: front.ask("/.slipway/health")[0].status == 200)
        yield front
    finally:
        run(["docker", "kill", name])


def test_events_of_a_stream_arrive_as_they_are_sent(gateway: Gateway) -> None:
    connection = gateway.connect()
    connection.request("GET", "/events")
    reply = connection.getresponse()
    assert reply.readline() == b"data: one\n"  # the service waits to be told before it sends the second
    gateway.service.go_on.set()
    assert reply.read() == b"\ndata: two\n\n"


@pytest.mark.parametrize("size", [6 * KB, 32 * KB])
def test_answers_with_large_headers_pass(gateway: Gateway, size: int) -> None:
    reply, body = gateway.ask(f"/cookies?size={size}")
    assert (reply.status, body, len(reply.getheader("Set-Cookie"))) == (200, b"ok", size + 2)


@pytest.mark.parametrize("size", [9 * KB, 32 * KB])
def test_requests_with_large_headers_and_long_urls_pass(gateway: Gateway, size: int) -> None:
    assert gateway.told("/x", X__Large="y" * size)["headers"]["x-large"] == "y" * size
    assert gateway.told(f"/x?{'y' * size}")["line"] == f"GET /x?{'y' * size} HTTP/1.1"


def test_headers_that_are_too_large_are_refused_in_the_gateways_own_form(gateway: Gateway) -> None:
    reply, body = gateway.ask("/x", X__Large="y" * 100 * KB)
    assert (reply.status, json.loads(body)) == (431, {"error": "request headers too large", "status": 431})


@pytest.mark.parametrize("chunked", [False, True])
def test_uploads_have_no_limit_until_there_is_one(gateway: Gateway, chunked: bool) -> None:
    size = 150 * MB
    pieces = (b"x" * MB for _ in range(150))
    told = gateway.told("/x", "POST", pieces if chunked else b"x" * size)
    assert told["length"] == size
    assert ("transfer-encoding" in told["headers"]) is chunked


def test_an_upload_over_the_limit_is_refused_in_the_gateways_own_form(gateway: Gateway) -> None:
    assert gateway.told("/small/x", "POST", b"x" * MB)["length"] == MB
    reply, body = gateway.ask("/small/x", "POST", b"x" * (MB + 1))
    assert (reply.status, json.loads(body)) == (413, {"error": "request body too large", "status": 413})
    reply, body = gateway.ask("/small/x", "POST", b"x" * (MB + 1), Accept="text/html")
    assert (reply.getheader("Content-Type"), b"request body too large" in body) == ("text/html", True)


def test_a_limit_that_the_service_has_itself_is_told_in_its_own_words(gateway: Gateway) -> None:
    reply, body = gateway.ask("/early", "POST", b"x")
    assert (reply.status, body) == (413, b"the service's own limit")


@pytest.mark.parametrize("code", [400, 404, 413, 500, 502, 503, 504])
def test_a_services_own_errors_pass_as_they_are(gateway: Gateway, code: int) -> None:
    reply, body = gateway.ask(f"/status?code={code}")
    assert (reply.status, body) == (code, b"the service's own words")


def test_a_service_that_is_down_is_named(gateway: Gateway) -> None:
    reply, body = gateway.ask("/gone")
    assert (reply.status, json.loads(body)["service"]) == (502, "gone")


def test_a_service_that_says_nothing_for_its_idle_time_is_given_up(gateway: Gateway) -> None:
    gateway.service.go_on.clear()
    connection = gateway.connect()
    connection.request("GET", "/quick/events")
    reply = connection.getresponse()
    assert reply.readline() == b"data: one\n"
    with pytest.raises(http.client.IncompleteRead):
        reply.read()
    gateway.service.go_on.set()


@pytest.mark.parametrize("kept", ["abc-123", "4bf92f3577b34da6a3ce929d0e0e4736", "a" * 128, "A.b_c:d/e+f=g@h"])
def test_the_callers_request_id_is_kept_passed_on_and_logged(gateway: Gateway, kept: str) -> None:
    assert gateway.told("/x", X__Request__ID=kept)["headers"]["x-request-id"] == kept
    wait(lambda: kept in gateway.log())


@pytest.mark.parametrize("bad", ["", "a b", "a" * 129, 'a"b', "ü", "a,b", "${jndi:x}"])
def test_a_request_id_that_is_none_gives_way_to_a_new_one(gateway: Gateway, bad: str) -> None:
    assert re.fullmatch("[0-9a-f-]{36}", gateway.told("/x", X__Request__ID=bad)["headers"]["x-request-id"])


def test_headers_with_underscores_pass(gateway: Gateway) -> None:
    assert gateway.told("/x", api_key="1")["headers"]["api_key"] == "1"


def test_what_looks_like_a_header_of_the_gateways_own_does_not_pass(gateway: Gateway) -> None:
    headers = gateway.told(
        "/x", X_Forwarded_For="6.6.6.6", X_Real_IP="6.6.6.6", X__Forwarded_Proto="https", x_request_id="mine"
    )["headers"]
    assert not [name for name in headers if "_" in name]
    assert (headers["x-forwarded-for"], headers["x-real-ip"]) == ("127.0.0.1", "127.0.0.1")


def test_where_a_request_came_from_is_the_gateways_to_say(gateway: Gateway) -> None:
    spoofed = {"X__Real__IP": "6.6.6.6", "X__Forwarded__Host": "evil", "X__Forwarded__Proto": "javascript"}
    headers = gateway.told("/x", X__Forwarded__For="6.6.6.6", Host="shop.example:81", **spoofed)["headers"]
    assert headers["host"] == headers["x-forwarded-host"] == "shop.example:81"
    assert headers["x-real-ip"] == "127.0.0.1"
    assert headers["x-forwarded-for"] == "6.6.6.6,127.0.0.1"  # the last is the gateway's own
    assert headers["x-forwarded-proto"] == "http"


@pytest.mark.parametrize(
    "path", ["/a%2Fb", "/a%20b", "/a//b/", "/%C3%BC?q=%2F&r=a+b", "/a;v=1", "/a?", "/a%00", "/~a/$b", "/small/a%2Fb"]
)
def test_the_path_arrives_byte_for_byte(gateway: Gateway, path: str) -> None:
    if path == "/a%00":
        assert gateway.ask(path)[0].status == 400  # no path holds that
    else:
        assert gateway.told(path)["line"] == f"GET {path} HTTP/1.1"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "POST"])
def test_every_method_passes(gateway: Gateway, method: str) -> None:
    reply, body = gateway.ask("/x", method)
    assert reply.status == 200
    assert json.loads(body or b'{"line": "HEAD"}')["line"].startswith(method)


def test_a_client_that_waits_to_continue_is_told_to(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as talk:
        talk.sendall(
            b"POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        )
        assert talk.recv(1000).startswith(b"HTTP/1.1 100 ")
        talk.sendall(b"ok")
        assert b'"length": 2' in b"".join(iter(lambda: talk.recv(65536), b""))


@pytest.mark.parametrize("headers", [b"", b"Host: shop\r\n"])
def test_a_client_of_http_1_0_is_answered(gateway: Gateway, headers: bytes) -> None:
    told = gateway.raw(b"GET /x HTTP/1.0\r\n" + headers + b"\r\n")
    assert b" 200 OK" in told
    assert b"Transfer-Encoding" not in told


def test_nonsense_is_refused_in_the_gateways_own_form(gateway: Gateway) -> None:
    assert b'{"error": "bad request", "status": 400}' in gateway.raw(b"GET /x HTTP/1.1\r\n\r\n")  # without a host


def test_an_answer_that_is_not_changed_or_zipped_stays_so(gateway: Gateway) -> None:
    assert gateway.ask("/status?code=304")[0].status == 304
    reply, body = gateway.ask("/zipped", Accept__Encoding="gzip")
    assert (reply.getheader("Content-Encoding"), reply.getheader("ETag"), body[:2]) == ("gzip", '"1"', b"\x1f\x8b")


def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(gateway: Gateway) -> None:
    with pytest.raises(http.client.IncompleteRead):
        gateway.ask("/cut")


def test_a_large_answer_to_a_slow_client_arrives_whole(gateway: Gateway) -> None:
    connection = gateway.connect()
    connection.request("GET", f"/large?size={50 * MB}")
    reply = connection.getresponse()
    pieces = iter(lambda: reply.read(MB), b"")
    assert sum(map(len, pieces)) == 50 * MB


def test_an_upgrade_to_http2_in_clear_text_is_no_way_around_the_gateway(gateway: Gateway) -> None:
    headers = gateway.told("/x", Upgrade="h2c", Connection="Upgrade, HTTP2-Settings", HTTP2__Settings="x")["headers"]
    assert not {"upgrade", "http2-settings", "connection"} & headers.keys()


def test_http2_without_an_upgrade_is_none_either(gateway: Gateway) -> None:
    assert b"HTTP/1.1 400" in gateway.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


def test_an_upgrade_that_no_service_would_take_is_refused(gateway: Gateway) -> None:
    assert gateway.ask("/x", Upgrade="nonsense", Connection="upgrade")[0].status == 403


@pytest.mark.parametrize(
    ("path", "arrives"),
    [("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/%61", "/a"), ("/x/%2e%2e/b", "/b"), ("/a\\b", "/a/b")],
)
def test_a_path_arrives_as_the_gateway_read_it(gateway: Gateway, path: str, arrives: str) -> None:
    assert f"GET {arrives} HTTP/1.1".encode() in gateway.raw(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )


@pytest.mark.parametrize("path", ["/small%2Fx", "//small/x", "/x/..%2Fsmall", "/x%2f..%2fsmall/y", "/%2e%2e%2fsmall"])
def test_a_path_that_a_service_could_take_for_another_routes_is_refused(gateway: Gateway, path: str) -> None:
    reply, body = gateway.ask(path)
    assert (reply.status, json.loads(body)) == (400, {"error": "bad request", "status": 400})


@pytest.mark.parametrize("name", ["x-envoy-upstream-rq-timeout-ms", "x-envoy-retry-on", "x-envoy-original-path"])
def test_nobody_tells_envoy_what_to_do_by_headers(gateway: Gateway, name: str) -> None:
    connection = gateway.connect()
    connection.request("GET", "/x", headers={name: "1", "x-slipway-proto": "https"})
    found = json.loads(connection.getresponse().read())["headers"]
    assert not [each for each, _ in found if each.lower().startswith(("x-envoy", "x-slipway"))]


def test_the_scheme_that_a_proxy_before_the_gateway_names_is_kept(gateway: Gateway) -> None:
    assert gateway.told("/x", X__Forwarded__Proto="https")["headers"]["x-forwarded-proto"] == "https"


def test_a_chunked_upload_over_the_limit_is_refused_too(gateway: Gateway) -> None:
    assert gateway.told("/small/x", "POST", iter([b"x" * MB]))["length"] == MB
    reply, body = gateway.ask("/small/x", "POST", iter([b"x" * MB, b"x"]))
    assert (reply.status, json.loads(body)) == (413, {"error": "request body too large", "status": 413})


def test_an_answer_does_not_say_what_the_gateway_is_made_of(gateway: Gateway) -> None:
    reply, _ = gateway.ask("/x")
    assert reply.getheader("Server") == "slipway"
    assert not [name for name, _ in reply.getheaders() if "envoy" in name.lower()]


@pytest.mark.parametrize(
    ("asked", "seen", "taken_off"),
    [
        ("/strip", "/", "/strip"),
        ("/strip/", "/", "/strip"),
        ("/strip/a/b?x=1", "/a/b?x=1", "/strip"),
        ("/strip?x=/strip/", "/?x=/strip/", "/strip"),
        ("/stripped/a", "/stripped/a", None),
        ("/v1", "/internal/v2", None),
        ("/v1/a%20b?x=1", "/internal/v2/a%20b?x=1", None),
        ("/reads/a", "/reads/a", None),
    ],
)
def test_a_service_sees_the_path_that_its_route_says(
    gateway: Gateway, asked: str, seen: str, taken_off: str | None
) -> None:
    told = gateway.told(asked)
    assert told["line"] == f"GET {seen} HTTP/1.1"
    assert told["headers"].get("x-forwarded-prefix") == taken_off


@pytest.mark.parametrize(
    "path", ["/strip//evil.example/x", "/strip/%2e%2e%2fsmall", "/%73trip/..%5c", "/strip%2f..%2fsmall"]
)
def test_no_path_leads_out_of_a_stripped_one(gateway: Gateway, path: str) -> None:
    assert gateway.ask(path)[0].status == 400


def test_dot_segments_are_resolved_before_a_route_is_chosen(gateway: Gateway) -> None:
    assert gateway.told("/strip/../v1/x")["line"] == "GET /internal/v2/x HTTP/1.1"
    assert gateway.told("/strip/%2e%2e/x")["line"] == "GET /x HTTP/1.1"


def test_a_caller_cannot_say_which_part_of_the_path_was_taken_off(gateway: Gateway) -> None:
    headers = gateway.told("/strip/x", X__Forwarded__Prefix="/evil", X_Forwarded__Prefix="/worse")["headers"]
    assert headers["x-forwarded-prefix"] == "/strip"
    assert "/worse" not in headers.values()


def test_headers_are_set_and_removed_as_the_route_says(gateway: Gateway) -> None:
    headers = gateway.told("/reads/x", X__Tier="stolen", Cookie="a=b")["headers"]
    assert headers["x-tier"] == "100% gold"
    assert "cookie" not in headers
    reply, _ = gateway.ask("/reads/cookies?size=9")
    assert (reply.getheader("X-Frame-Options"), reply.getheader("Set-Cookie")) == ("DENY", None)
    assert gateway.ask("/cookies?size=9")[0].getheader("Set-Cookie")


def test_another_method_is_another_routes(gateway: Gateway) -> None:
    """A method that a route does not take leads on to the next one: here `/`, which changes nothing."""
    assert "x-tier" not in gateway.told("/reads/x", "POST", b"x")["headers"]
    assert gateway.told("/reads/x", "GET")["headers"]["x-tier"] == "100% gold"


@pytest.mark.parametrize(
    ("asked", "status", "location"),
    [
        ("/moved", 301, "http://{host}/new"),
        ("/moved/a?x=1", 301, "http://{host}/new/a?x=1"),
        ("/away/a?x=1", 302, "https://www.example.com/away/a?x=1"),
    ],
)
def test_a_redirect_keeps_what_it_does_not_name(gateway: Gateway, asked: str, status: int, location: str) -> None:
    reply, _ = gateway.ask(asked)
    assert (reply.status, reply.getheader("Location")) == (status, location.format(host=f"127.0.0.1:{gateway.port}"))


def test_an_answer_that_takes_longer_than_the_route_allows_is_ended(gateway: Gateway) -> None:
    reply, body = gateway.ask("/short/late?seconds=3")
    assert (reply.status, json.loads(body)["error"]) == (504, "service unavailable")
    assert gateway.ask("/short/x")[0].status == 200


def validated(first: First, folder: Path, routes: list[Route]) -> ProcessResult:
    """Let the Envoy of the gateway's image judge a configuration."""
    write_whole(routes, folder)
    image = bases_lock.load(first.workspace.root).bases[bases_lock.GATEWAY_BASE]
    words = [
        "docker",
        "run",
        "--rm",
        "--network",
        "none",
        "--volume",
        f"{folder}:/x:ro",
        "--entrypoint",
        "envoy",
        image,
    ]
    return run([*words, "--mode", "validate", "--config-path", f"/x/{WHOLE}"])


@pytest.mark.parametrize("paths", [[], ["/"], ["/api"], ["/", "/api", "/api/deep.er/~x"]])
@pytest.mark.parametrize("limits", [RequestLimits(), RequestLimits("999g", 3600, 604800), RequestLimits("1k", 1, 1)])
def test_envoy_itself_finds_every_configuration_valid(
    first: First, tmp_path: Path, paths: list[str], limits: RequestLimits
) -> None:
    tmp_path.chmod(0o755)
    routes = [
        Route(f"s{number}", path, f"host-{number}:80", limits, "/h" * number) for number, path in enumerate(paths)
    ]
    judged = validated(first, tmp_path, routes)
    assert judged.code == 0, judged.output


def test_envoy_itself_finds_routes_with_rules_valid(first: First, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    routes = [Route(f"s{number}", rules.path, "host:80", rules=rules) for number, rules in enumerate(RULES)]
    judged = validated(first, tmp_path, routes)
    assert judged.code == 0, judged.output


def test_a_configuration_that_is_none_is_found_out(
    first: First, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr(envoy_routes, "IDEMPOTENT_METHODS", ("(GET",))
    judged = validated(first, tmp_path, [Route("all", "/", "host:80")])
    assert judged.code != 0 and "missing ): (GET" in judged.output


ODD_PATHS = [
    *(
        "/strip/a/../b",
        "/strip/./b",
        "/strip/..",
        "/strip/../x",
        "/a/b/../../strip",
        "/strip/%2e%2e/x",
        "/strip/.%2E/x",
    ),
    *(
        "/%73trip/x",
        "/strip/%7Ea",
        "/strip/%41%2d",
        "/strip/a%2Fb",
        "/strip/a%2fb",
        "/strip\\b",
        "/strip\\..\\x",
        "/strip//x",
    ),
    *(
        "//strip/x",
        "/strip%2Fx",
        "/%2e/strip/x",
        "/..",
        "/../..",
        "/.",
        "/",
        "/...",
        "/strip/...",
        "/strip/a..",
        "/strip;a=b/x",
    ),
    *(
        "/strip/%",
        "/strip/%zz",
        "/strip/%2",
        "/strip/%2E%2E%2fx",
        "/strip/..%5cx",
        "/strip/x/..",
        "/strip/x/.",
        "/v1/..%00/x",
    ),
    *(
        "/strip/?a=/../b",
        "/strip?a=%2e",
        "/v1/%C3%A9",
        "/reads/%e2%82%ac/..",
        "/.slipway/../strip",
        "/strip/../.slipway/health",
    ),
    *("/strip/a%3Fb", "/strip/a%23b", "/v1/a+b", "/v1/a%2Bb", "/v1/'x'", "/v1/(x)", "/v1/a:b@c", "/v1/a|b", "/v1/%7c"),
    *('/v1/"<>^`{}', "/v1/!$&*,=[]", "/v1/%01", "/v1/%c3%28"),
]


@pytest.mark.parametrize("path", ODD_PATHS)
def test_a_request_goes_where_the_product_says_that_it_goes(gateway: Gateway, path: str) -> None:
    """`invoke routes --test` reads paths as the real Envoy does."""
    answer = gateway.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    fate = requests.find_fate(AS_SERVICES, path)
    assert int(head.split()[1]) == (fate.status or 200), (head, fate)
    if not fate.status:
        assert json.loads(body)["line"] == f"GET {fate.sent_path} HTTP/1.1"
