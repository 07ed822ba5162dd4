"""The door to registries: references, look-ups, logins, and errors that say what to do."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest

from slipway.model.errors import ConfigError, SlipwayError
from slipway.run import registry
from slipway.run.credentials import login_of
from slipway.run.registry import Ref

A = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("127.0.0.1:5000/demo/api:h-1", Ref("127.0.0.1:5000", "demo/api", "h-1")),
        ("ghcr.io/a/b", Ref("ghcr.io", "a/b", "latest")),
        (f"ghcr.io/a/b:t@{A}", Ref("ghcr.io", "a/b", A)),
        ("localhost/a:t", Ref("localhost", "a", "t")),
        ("[::1]:5000/a:t", Ref("[::1]:5000", "a", "t")),
        ("python:3.13", Ref("docker.io", "library/python", "3.13")),
        ("acme/web", Ref("docker.io", "acme/web", "latest")),
        ("docker.io/library/python:3", Ref("docker.io", "library/python", "3")),
    ],
)
def test_a_reference_is_taken_apart_as_docker_does(ref: str, expected: Ref) -> None:
    assert registry.parse(ref) == expected


@pytest.mark.parametrize("ref", ["", ":", "host:1/", "host:1/a:", "ghcr.io/a@", "ghcr.io/A", "ghcr.io/a//b"])
def test_what_names_no_image_is_refused(ref: str) -> None:
    with pytest.raises(ConfigError, match="names no image"):
        registry.parse(ref)


class Handler(BaseHTTPRequestHandler):
    """A registry of one repository, `demo/api`, whose manners the tests set."""

    manners: Callable[[Handler], bool]
    seen: list[tuple[str, str, str | None]]

    def do_GET(self) -> None:
        self.seen.append((self.command, self.path, self.headers.get("Authorization")))
        if type(self).manners(self):
            return
        if self.path == "/v2/":
            self.say(200)
        elif self.path in ("/v2/demo/api/manifests/one", f"/v2/demo/api/manifests/{A}"):
            self.say(200, {"Docker-Content-Digest": A})
        else:
            self.say(404)

    do_HEAD = do_POST = do_GET

    def say(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[Handler]]]:
    class Mine(Handler):
        seen: list[tuple[str, str, str | None]] = []

        @staticmethod
        def manners(_: Handler) -> bool:  # type: ignore[override]
            return False

    with ThreadingHTTPServer(("127.0.0.1", 0), Mine) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{running.server_port}", Mine
        running.shutdown()


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Docker config of the test's own; and a proxy that would break every look-up, were it used."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    return tmp_path / "config.json"


def test_a_digest_is_looked_up_and_a_missing_one_is_none(server: tuple[str, type[Handler]]) -> None:
    host, _ = server
    door = registry.Registry(host)
    door.ping()
    assert door.digest("demo/api", "one") == A
    assert door.digest("demo/api", A) == A
    assert door.digest("demo/api", "two") is None


def test_many_are_looked_up_at_once(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    refs = [f"{host}/demo/api:{number}" for number in range(50)] + [f"{host}/demo/api:one"]
    found = registry.digests(refs)
    assert list(found) == refs
    assert found == dict.fromkeys(refs[:-1]) | {refs[-1]: A}
    assert len(handler.seen) == 51
    assert registry.digests([]) == {}


def test_without_the_digests_header_the_manifest_is_hashed(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    body = b'{"schemaVersion": 2}'
    handler.manners = staticmethod(lambda self: not self.say(200, body=body))  # type: ignore[assignment]
    assert registry.Registry(host).digest("demo/api", "one") == f"sha256:{hashlib.sha256(body).hexdigest()}"


def bearer(host: str, wanted: str) -> Callable[[Handler], bool]:
    """Manners of a registry that wants a token, and of its token service."""

    def manners(self: Handler) -> bool:
        url = urlparse(self.path)
        if url.path == "/token":
            form = parse_qs(url.query)
            if self.command == "POST":
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            given = self.headers.get("Authorization") or "".join(form.get("refresh_token", []))
            if given != wanted:
                self.say(401)
                return True
            token = f"token for {form['scope'][0]}"
            self.say(200, body=json.dumps({"token": token}).encode())
            return True
        repository = url.path.removeprefix("/v2/").rpartition("/manifests/")[0]
        scope = f"repository:{repository}:pull"
        if self.headers.get("Authorization") == f"Bearer token for {scope}":
            return False
        challenge = f'Bearer realm="http://{host}/token",service="s",scope="{scope}"'
        self.say(401, {"WWW-Authenticate": challenge})
        return True

    return manners


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_token_is_fetched_with_the_login_once_for_each_repository(
    server: tuple[str, type[Handler]], docker_config: Path
) -> None:
    host, handler = server
    auth = base64.b64encode(b"me:pass:word").decode()
    docker_config.write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    handler.manners = staticmethod(bearer(host, basic("me", "pass:word")))  # type: ignore[assignment]
    door = registry.Registry(host)
    assert door.digest("demo/api", "one") == A
    assert door.digest("demo/api", "two") is None
    assert door.digest("demo/web", "one") is None
    assert len([path for _, path, _ in handler.seen if path.startswith("/token")]) == 2


def test_a_token_is_fetched_without_a_login_where_none_is_wanted(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    handler.manners = staticmethod(bearer(host, ""))  # type: ignore[assignment]
    assert registry.Registry(host).digest("demo/api", "one") == A


def test_an_identity_token_is_exchanged(server: tuple[str, type[Handler]], docker_config: Path) -> None:
    host, handler = server
    auth = base64.b64encode(b"me:").decode()
    docker_config.write_text(json.dumps({"auths": {host: {"auth": auth, "identitytoken": "long-lived"}}}))
    handler.manners = staticmethod(bearer(host, "long-lived"))  # type: ignore[assignment]
    assert registry.Registry(host).digest("demo/api", "one") == A


def test_a_password_is_given_where_basic_is_asked(server: tuple[str, type[Handler]], docker_config: Path) -> None:
    host, handler = server

    def manners(self: Handler) -> bool:
        if self.headers.get("Authorization") == basic("me", "secret"):
            return False
        self.say(401, {"WWW-Authenticate": 'Basic realm="x"'})
        return True

    handler.manners = staticmethod(manners)  # type: ignore[assignment]
    with pytest.raises(SlipwayError, match="answers 401") as caught:
        registry.Registry(host).digest("demo/api", "one")
    assert f"docker login {host}" in caught.value.remedy
    docker_config.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(b"me:secret").decode()}}}))
    assert registry.Registry(host).digest("demo/api", "one") == A
    docker_config.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(b"me:wrong").decode()}}}))
    with pytest.raises(SlipwayError, match="answers 401") as caught:
        registry.Registry(host).digest("demo/api", "one")
    assert "wrong" not in f"{caught.value} {caught.value.detail} {caught.value.remedy}"


def test_a_credential_helper_is_asked_and_a_missing_one_is_named(
    docker_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_config.write_text(json.dumps({"credHelpers": {"ghcr.io": "test"}}))
    with pytest.raises(SlipwayError, match=r"login for ghcr\.io cannot be read"):
        login_of("ghcr.io")
    helper = tmp_path / "docker-credential-test"
    helper.write_text('#!/bin/sh\ncat > /dev/null\necho \'{"ServerURL": "x", "Username": "me", "Secret": "hush"}\'\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = login_of("ghcr.io")
    assert (found.user, found.password) == ("me", "hush")
    assert "hush" not in repr(found)


def test_a_registry_that_gives_new_tokens_for_ever_is_not_asked_for_ever(
    server: tuple[str, type[Handler]],
) -> None:
    host, handler = server
    counter = iter(range(1000))

    def manners(self: Handler) -> bool:
        if self.path.startswith("/token"):
            self.say(200, body=json.dumps({"access_token": str(next(counter))}).encode())
        else:
            self.say(401, {"WWW-Authenticate": f'Bearer realm="http://{host}/token"'})
        return True

    handler.manners = staticmethod(manners)  # type: ignore[assignment]
    with pytest.raises(SlipwayError, match="answers 401"):
        registry.Registry(host).digest("demo/api", "one")
    assert next(counter) < 5


def test_a_registry_that_is_down_is_named_with_the_remedy() -> None:
    with pytest.raises(SlipwayError, match=r"127\.0\.0\.1:1 does not answer") as caught:
        registry.digests(["127.0.0.1:1/a:t", "127.0.0.1:1/b:t"])
    assert "invoke setup" in caught.value.remedy


def test_what_is_no_registry_is_told_apart(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    handler.manners = staticmethod(lambda self: not self.say(404))  # type: ignore[assignment]
    with pytest.raises(SlipwayError, match="is no registry: 404"):
        registry.Registry(host).ping()


def test_a_registry_that_is_busy_is_asked_again(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    answers = iter([503, 429])

    def manners(self: Handler) -> bool:
        status = next(answers, None)
        if status:
            self.say(status, {"Retry-After": "0"})
        return bool(status)

    handler.manners = staticmethod(manners)  # type: ignore[assignment]
    assert registry.Registry(host).digest("demo/api", "one") == A


def test_a_registry_that_stays_broken_is_an_error(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    handler.manners = staticmethod(lambda self: not self.say(500))  # type: ignore[assignment]
    with pytest.raises(SlipwayError, match="answers 500"):
        registry.Registry(host).digest("demo/api", "one")


def fake_crane(folder: Path, code: int = 0) -> Path:
    program = folder / "crane"
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\necho pushing\nexit {code}\n')
    program.chmod(0o755)
    return program


def built(folder: Path, manifest: bytes) -> str:
    value = hashlib.sha256(manifest).hexdigest()
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "blobs" / "sha256" / value).write_bytes(manifest)
    (folder / "index.json").write_text(json.dumps({"manifests": [{"digest": f"sha256:{value}"}]}))
    return f"sha256:{value}"


def test_a_push_is_done_when_the_registry_holds_what_was_built(
    server: tuple[str, type[Handler]], tmp_path: Path
) -> None:
    host, handler = server
    digest = built(tmp_path / "oci", b"{}")
    handler.manners = staticmethod(  # type: ignore[assignment]
        lambda self: not self.say(200, {"Docker-Content-Digest": digest})
    )
    ref = f"{host}/demo/api:one"
    assert registry.push(fake_crane(tmp_path), tmp_path / "oci", ref) == digest
    assert (tmp_path / "asked").read_text() == f"push {tmp_path}/oci {ref} --insecure\n"


def test_other_bytes_in_the_registry_are_refused(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    host, _ = server
    digest = built(tmp_path / "oci", b"{}")
    with pytest.raises(SlipwayError, match=f"{A} in the registry, but {digest} was pushed"):
        registry.push(fake_crane(tmp_path), tmp_path / "oci", f"{host}/demo/api:one")
    with pytest.raises(SlipwayError, match="not there in the registry"):
        registry.push(fake_crane(tmp_path), tmp_path / "oci", f"{host}/demo/api:none")


def test_a_push_that_fails_shows_why(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    host, _ = server
    built(tmp_path / "oci", b"{}")
    with pytest.raises(SlipwayError, match="was not pushed") as caught:
        registry.push(fake_crane(tmp_path, 1), tmp_path / "oci", f"{host}/demo/api:one")
    assert caught.value.detail == "pushing"
    with pytest.raises(SlipwayError, match="does not answer"):
        registry.push(fake_crane(tmp_path, 1), tmp_path / "oci", "127.0.0.1:1/demo/api:one")
