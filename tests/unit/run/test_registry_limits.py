"""What a registry that means ill is given, and how much it may send: logins stay at its origin, every answer ends."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import registry
from slipway._internal.run.credentials import _is_safe_realm
from slipway._internal.run.http import origin, parse_number
from slipway._internal.run.registries import client as registry_client
from slipway._internal.run.registries.http import next_path

LOGIN = "Basic " + base64.b64encode(b"me:secret").decode()
PAGE = "/v2/demo/api/tags/list"


class Asked(BaseHTTPRequestHandler):
    """A server that writes down who comes with what, and answers as its test says."""

    answer: Callable[[Asked], None]
    seen: list[tuple[str, str, str]]

    def do_GET(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/v2/":
            self.seen.append((self.command, self.path, self.headers.get("Authorization") or ""))
        with suppress(OSError):
            type(self).answer(self)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def say(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


Serve = Callable[[Callable[[Asked], None]], tuple[str, list[tuple[str, str, str]]]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers; each is told by its host and what it has seen."""
    with ExitStack() as stack:

        def start(answer: Callable[[Asked], None]) -> tuple[str, list[tuple[str, str, str]]]:
            seen: list[tuple[str, str, str]] = []
            handler = type("Mine", (Asked,), {"answer": staticmethod(answer), "seen": seen})
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            server.daemon_threads, server.block_on_close = True, False
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return f"127.0.0.1:{server.server_port}", seen

        yield start


@pytest.fixture(autouse=True)
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Log in to a host, in a Docker config of the test's own."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def write(host: str) -> None:
        auth = LOGIN.removeprefix("Basic ")
        (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))

    return write


def sending_on(to: str, status: int = 307) -> Callable[[Asked], None]:
    return lambda self: self.say(200) if self.path == "/v2/" else self.say(status, {"Location": to + self.path})


@pytest.mark.parametrize("challenge", ["basic", "bearer"])
def test_a_redirect_s_target_that_wants_a_login_gets_none(
    serve: Serve, login: Callable[[str], None], challenge: str
) -> None:
    wanted = {"basic": 'Basic realm="x"', "bearer": 'Bearer realm="http://{}/token",service="s"'}[challenge]

    def thief(self: Asked) -> None:
        if self.path.startswith("/token"):
            self.say(200, body=b'{"token": "t"}')
        else:
            self.say(401, {"WWW-Authenticate": wanted.format(self.headers["Host"])})

    other, stolen = serve(thief)
    host, _ = serve(sending_on(f"http://{other}"))
    login(host)
    with pytest.raises(SlipwayError, match=f"answers 401 .*{other}") as caught:
        registry.Registry(host).resolve_digest("demo/api", "one")
    assert f"{host} sent the request on" in caught.value.remedy
    assert stolen and not any(authorization for _, _, authorization in stolen)
    assert not [path for _, path, _ in stolen if path.startswith("/token")]


@pytest.mark.parametrize("bearer", [False, True])
def test_a_login_that_the_registry_has_had_does_not_follow_a_redirect(
    serve: Serve, login: Callable[[str], None], bearer: bool
) -> None:
    other, stolen = serve(lambda self: self.say(200, body=b"{}"))

    def answer(self: Asked) -> None:
        if self.path.startswith("/token"):
            self.say(200, body=b'{"token": "t"}')
        elif not self.headers.get("Authorization") and self.path != "/v2/":
            realm = f'Bearer realm="http://{self.headers["Host"]}/token"' if bearer else "Basic x"
            self.say(401, {"WWW-Authenticate": realm})
        else:
            sending_on(f"http://{other}")(self)

    host, seen = serve(answer)
    login(host)
    assert registry.Registry(host).find_manifest("demo/api", "one")
    assert seen[-1][2] == ("Bearer t" if bearer else LOGIN)
    assert stolen == [("GET", "/v2/demo/api/manifests/one", "")]


def test_a_redirect_within_the_registry_keeps_its_login(serve: Serve, login: Callable[[str], None]) -> None:
    def answer(self: Asked) -> None:
        if self.path.endswith("one"):
            self.say(302, {"Location": "/v2/demo/api/manifests/two"})
        elif self.headers.get("Authorization") != LOGIN and self.path != "/v2/":
            self.say(401, {"WWW-Authenticate": "Basic x"})
        else:
            self.say(200, body=b"{}")

    host, _ = serve(answer)
    login(host)
    assert registry.Registry(host).find_manifest("demo/api", "one")


def test_what_is_written_goes_to_no_other_origin(serve: Serve) -> None:
    other, got = serve(lambda self: self.say(201))
    host, _ = serve(sending_on(f"http://{other}"))
    with pytest.raises(SlipwayError, match=f"sends PUT .* on to http://{other}.*nothing is written"):
        registry.Registry(host).put_manifest("demo/api", registry_client.Manifest(b"{}", "", "m"), "one")
    with pytest.raises(SlipwayError, match="sends DELETE"):
        registry.Registry(host).delete_manifest("demo/api", "sha256:" + "0" * 64)
    assert got == []


@pytest.mark.parametrize("to", ["http://192.0.2.1", "ftp://127.0.0.1", "file://", "http://[", "http://metadata"])
def test_a_redirect_to_an_address_without_tls_is_refused(serve: Serve, to: str) -> None:
    host, _ = serve(sending_on(to))
    with pytest.raises(SlipwayError, match=r"sends GET .* on to .*(which is not HTTPS|not an address)"):
        registry.Registry(host).find_manifest("demo/api", "one")


def test_redirects_without_end_are_left(serve: Serve) -> None:
    counter = itertools.count()
    host, seen = serve(
        lambda self: self.say(200) if self.path == "/v2/" else self.say(302, {"Location": f"/v2/{next(counter)}"})
    )
    with pytest.raises(SlipwayError, match="more than 5 times"):
        registry.Registry(host).find_manifest("demo/api", "one")
    assert len(seen) < 10


def test_a_redirect_s_own_body_is_not_read(serve: Serve) -> None:
    def answer(self: Asked) -> None:
        if not self.path.endswith("one"):
            self.say(200, body=b"{}")
            return
        self.send_response(302)
        self.send_header("Location", "/v2/demo/api/manifests/two")
        self.end_headers()
        for _ in range(1 << 10):  # a gigabyte
            self.wfile.write(b" " * (1 << 20))
        taken.append(True)

    taken: list[bool] = []
    host, _ = serve(answer)
    assert registry.Registry(host).find_manifest("demo/api", "one")
    assert not taken


@pytest.mark.parametrize(
    ("realm", "registry_url", "safe"),
    [
        ("https://auth.docker.io/token", "https://registry-1.docker.io/v2/", True),
        ("http://auth.docker.io/token", "https://registry-1.docker.io/v2/", False),
        ("http://127.0.0.1:9/token", "https://ghcr.io/v2/", False),
        ("http://127.0.0.1:9/token", "http://127.0.0.1:5000/v2/", True),
        ("http://192.0.2.1/token", "http://127.0.0.1:5000/v2/", False),
        ("http://127.0.0.1.example.com/token", "http://127.0.0.1:5000/v2/", False),
        ("http://127.0.0.1@192.0.2.1/token", "http://127.0.0.1:5000/v2/", False),
        ("http://[::1]:9/token", "http://localhost:5000/v2/", True),
        ("file:///etc/passwd", "https://ghcr.io/v2/", False),
        ("https:///token", "https://ghcr.io/v2/", False),
        ("http://[", "https://ghcr.io/v2/", False),
        ("", "https://ghcr.io/v2/", False),
    ],
)
def test_a_token_service_gets_the_password_by_tls_alone(realm: str, registry_url: str, safe: bool) -> None:
    assert _is_safe_realm(realm, registry_url) == safe


def challenging(token: Callable[[Asked], None]) -> Callable[[Asked], None]:
    def answer(self: Asked) -> None:
        if self.path.startswith("/token"):
            token(self)
        else:
            self.say(401, {"WWW-Authenticate": f'Bearer realm="http://{self.headers["Host"]}/token"'})

    return answer


@pytest.mark.parametrize("identity", [False, True])
def test_a_token_service_that_sends_on_elsewhere_does_not_take_the_login_there(
    serve: Serve, login: Callable[[str], None], tmp_path: Path, identity: bool
) -> None:
    other, stolen = serve(lambda self: self.say(200, body=b'{"token": "t"}'))
    host, _ = serve(challenging(lambda self: self.say(307, {"Location": f"http://{other}/token"})))
    login(host)
    if identity:
        auths = {host: {"auth": base64.b64encode(b"me:").decode(), "identitytoken": "long-lived"}}
        (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    with pytest.raises(SlipwayError, match=r"token service gave no token: .* (another host|nothing is written)"):
        registry.Registry(host).find_manifest("demo/api", "one")
    assert stolen == []


BOMB = gzip.compress(b" " * (1 << 24))


@pytest.mark.parametrize(
    ("body", "headers", "why"),
    [
        (b" " * (2 << 20), {}, "more than 1048576 bytes"),
        (BOMB, {"Content-Encoding": "gzip"}, "token service gave no token"),
        (b'{"token": {"a": 1}}', {}, "no token"),
        (b'{"token": "a\\r\\nX-Evil: 1"}', {}, "no token"),
        ('{"token": "ä"}'.encode(), {}, "no token"),
        (b"[" * 100_000, {}, "token service gave no token"),
        (b"9" * 10_000, {}, "token service gave no token"),
        (b"[1]", {}, "token service gave no token"),
        (b'{"token": "t"}', {"Content-Length": "\xb2"}, "answers 401"),
    ],
)
def test_a_token_is_small_and_one_or_the_service_is_named(
    serve: Serve, body: bytes, headers: dict[str, str], why: str
) -> None:
    host, _ = serve(challenging(lambda self: self.say(200, headers, body)))
    with pytest.raises(SlipwayError, match=why) as caught:
        registry.Registry(host, seconds=10).find_manifest("demo/api", "one")
    assert host in caught.value.message


def test_an_answer_is_never_unpacked(serve: Serve) -> None:
    host, _ = serve(lambda self: self.say(200, {"Content-Encoding": "gzip"}, BOMB))
    with pytest.raises(SlipwayError, match="gives no JSON object"):
        registry.Registry(host).list_tags("demo/api")


def paging(following: Callable[[Asked], str], body: bytes = b'{"tags": ["one"]}') -> Callable[[Asked], None]:
    return lambda self: self.say(200, {"Link": f'<{following(self)}>; rel="next"'}, body)


def test_a_list_that_names_its_own_page_again_is_an_error_and_not_a_part_of_it(serve: Serve) -> None:
    host, seen = serve(paging(lambda _: PAGE))
    with pytest.raises(SlipwayError, match="names a page again"):
        registry.Registry(host).list_tags("demo/api")
    assert len(seen) == 1


def test_a_list_that_goes_on_at_no_address_is_an_error(serve: Serve) -> None:
    host, _ = serve(paging(lambda _: "http://["))
    with pytest.raises(SlipwayError, match="not an address"):
        registry.Registry(host).list_tags("demo/api")


@pytest.mark.parametrize("limit", ["pages", "bytes", "time"])
def test_a_list_without_end_is_left(serve: Serve, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    counter = itertools.count()
    host, seen = serve(paging(lambda _: f"{PAGE}?last={next(counter)}", b'{"tags": []}' + b" " * 1000))
    monkeypatch.setattr(
        registry_client, {"pages": "MAX_PAGES", "bytes": "LIST_LIMIT", "time": "LIST_TIMEOUT_FACTOR"}[limit], 0
    )
    if limit == "pages":
        monkeypatch.setattr(registry_client, "MAX_PAGES", 20)
    if limit == "bytes":
        monkeypatch.setattr(registry_client, "LIST_LIMIT", 20_000)
    for read in (
        lambda api_client: api_client.list_tags("demo/api"),
        lambda api_client: api_client.list_repositories(),
    ):
        with pytest.raises(SlipwayError, match=f"list that the registry {host} gives .*longer than") as caught:
            read(registry.Registry(host))
        assert "nothing was done with a part of it" in caught.value.remedy
    assert len(seen) <= 42


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("https://evil.example/v2/a/tags/list?n=1", "/v2/a/tags/list?n=1"),
        ("//evil.example/v2/a", "/v2/a"),
        (".evil.example/v2/a", "/v2/demo/api/tags/.evil.example/v2/a"),
        ("@evil.example/v2/a", "/v2/demo/api/tags/@evil.example/v2/a"),
        (":80@evil.example/v2/a", "/v2/demo/api/tags/:80@evil.example/v2/a"),
        ("?last=b", f"{PAGE}?last=b"),
        ("https://evil.example", "/"),
        ("https://evil.example//x.example/v2/", "/x.example/v2/"),
        ("foo:@evil.example/v2/a", "/@evil.example/v2/a"),
    ],
)
def test_a_page_s_link_names_a_path_and_never_a_host(link: str, path: str) -> None:
    assert next_path(link, PAGE) == path
    assert origin(f"https://ghcr.io{next_path(link, PAGE)}") == ("https", "ghcr.io", 443)


@pytest.mark.parametrize(
    "body", [b'{"tags": 7}', b'{"tags": [1]}', b'{"tags": {"a": 1}}', b"[" * 100_000, b'{"tags": ' + b"9" * 10_000]
)
def test_a_list_that_is_none_is_an_error_that_names_the_registry(serve: Serve, body: bytes) -> None:
    host, _ = serve(lambda self: self.say(200, body=body))
    with pytest.raises(SlipwayError, match=f"the registry {host} gives no"):
        registry.Registry(host).list_tags("demo/api")


def test_a_manifest_of_more_than_four_megabytes_is_left(serve: Serve) -> None:
    host, _ = serve(lambda self: self.say(200, body=b" " * (5 << 20)))
    with pytest.raises(SlipwayError, match=f"the registry {host} gives more than 4194304 bytes"):
        registry.Registry(host).find_manifest("demo/api", "one")


def test_a_size_that_is_no_number_is_none(serve: Serve) -> None:
    digest = "sha256:" + "0" * 64
    body = json.dumps({"manifests": [{"digest": digest, "size": "much"}, {"digest": digest[:-1] + "1", "size": []}]})
    kind = "application/vnd.oci.image.index.v1+json"
    host, _ = serve(lambda self: self.say(200, {"Content-Type": kind}, body.encode()))
    assert [each.size for each in registry.Registry(host).list_referrers("demo/api", digest)] == [0, 0]


@pytest.mark.parametrize("api", [True, False])
def test_an_image_to_which_thousands_refer_is_an_error_before_they_are_read(serve: Serve, api: bool) -> None:
    digest = "sha256:" + "0" * 64
    body = json.dumps({"manifests": [{"digest": f"sha256:{number:064}"} for number in range(2001)]}).encode()
    kind = "application/vnd.oci.image.index.v1+json"
    host, _ = serve(
        lambda self: self.say(200 if api or "manifests" in self.path else 404, {"Content-Type": kind}, body)
    )
    with pytest.raises(SlipwayError, match="lists 2001 signatures and attestations"):
        registry.Registry(host).list_referrers("demo/api", digest)


def test_headers_that_would_take_a_pattern_minutes_are_cut(serve: Serve) -> None:
    def answer(self: Asked) -> None:
        self.send_response(401 if "manifests" in self.path else 200)
        for _ in range(90):
            self.send_header("WWW-Authenticate", "a" * 60_000)
        self.send_header("Link", "<" * 60_000)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    host, _ = serve(answer)
    assert registry.Registry(host).list_tags("demo/api") == ()
    with pytest.raises(SlipwayError, match="answers 401"):
        registry.Registry(host, seconds=20).find_manifest("demo/api", "one")


def test_headers_without_end_and_a_first_line_without_end_are_left(serve: Serve) -> None:
    def answer(self: Asked) -> None:
        if self.path == "/v2/":
            self.say(200)
            return
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" if "tags" in self.path else b"HTTP/1.1 ")
        while True:
            self.wfile.write(b"X-More: 1\r\n" * 1000 if "tags" in self.path else b"x" * 1000)

    host, _ = serve(answer)
    for read in (
        lambda api_client: api_client.list_tags("demo/api"),
        lambda api_client: api_client.find_manifest("demo/api", "one"),
    ):
        with pytest.raises(SlipwayError, match=f"the registry {host} does not answer"):
            read(registry.Registry(host, seconds=20))


def test_a_wait_that_a_busy_registry_asks_for_in_other_digits_is_no_wait(serve: Serve) -> None:
    answers = iter([(503, {"Retry-After": "\xb2"}, b""), (200, {}, b"{}"), (200, {}, b"{}")])
    host, _ = serve(lambda self: self.say(200) if self.path == "/v2/" else self.say(*next(answers)))
    assert registry.Registry(host).find_manifest("demo/api", "one")
    assert [parse_number(text) for text in ("12", "", "\xb2", "-1", "1" * 5000)] == [12, None, None, None, None]


def test_a_registry_s_words_are_no_commands_to_the_terminal(serve: Serve) -> None:
    host, _ = serve(lambda self: self.say(200 if self.path == "/v2/" else 403, body=b"\x1b[2J\x1b]0;gone\x07 denied"))
    with pytest.raises(SlipwayError, match="answers 403") as caught:
        registry.Registry(host).find_manifest("demo/api", "one")
    assert "denied" in caught.value.detail and "\x1b" not in caught.value.detail and "\x07" not in caught.value.detail


def test_cookies_are_not_kept(serve: Serve) -> None:
    got: list[str | None] = []

    def answer(self: Asked) -> None:
        got.append(self.headers.get("Cookie"))
        self.say(200, {"Set-Cookie": "a=b; Path=/"}, b"{}")

    host, _ = serve(answer)
    api_client = registry.Registry(host)
    api_client.find_manifest("demo/api", "one")
    api_client.find_manifest("demo/api", "two")
    assert set(got) == {None}
