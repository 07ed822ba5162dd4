"""The registry client: references, look-ups, logins, and errors that say what to do."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest

from slipway._internal.model.errors import ConfigError, GateRefused, SlipwayError
from slipway._internal.model.gate_settings import LoginSettings
from slipway._internal.model.workspace import Workspace, WorkspaceSettings
from slipway._internal.run import registry
from slipway._internal.run.credentials import (
    CONFIG_VARIABLES,
    check_logins,
    login_config_of,
    login_environment,
    read_login,
)
from slipway._internal.run.registry import ImageReference

BODY = b'{"schemaVersion": 2}'
A = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
B = "sha256:" + "b" * 64
WORKSPACE = Workspace(Path("/nowhere"), WorkspaceSettings("demo", "registry.example"), ())
"""One that names no logins: the user's own are taken."""


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("127.0.0.1:5000/demo/api:h-1", ImageReference("127.0.0.1:5000", "demo/api", "h-1")),
        ("ghcr.io/a/b", ImageReference("ghcr.io", "a/b", "latest")),
        (f"ghcr.io/a/b:t@{A}", ImageReference("ghcr.io", "a/b", A)),
        ("localhost/a:t", ImageReference("localhost", "a", "t")),
        ("[::1]:5000/a:t", ImageReference("[::1]:5000", "a", "t")),
        ("python:3.13", ImageReference("docker.io", "library/python", "3.13")),
        ("acme/web", ImageReference("docker.io", "acme/web", "latest")),
        ("docker.io/library/python:3", ImageReference("docker.io", "library/python", "3")),
    ],
)
def test_a_reference_is_taken_apart_as_docker_does(ref: str, expected: ImageReference) -> None:
    assert registry.parse_reference(ref) == expected


@pytest.mark.parametrize("ref", ["", ":", "host:1/", "host:1/a:", "ghcr.io/a@", "ghcr.io/A", "ghcr.io/a//b"])
def test_what_names_no_image_is_refused(ref: str) -> None:
    with pytest.raises(ConfigError, match="names no image"):
        registry.parse_reference(ref)


class Handler(BaseHTTPRequestHandler):
    """A registry of one repository, `demo/api`, whose manners the tests set."""

    manners: Callable[[Handler], bool]
    seen: list[tuple[str, str, str | None]]

    def do_GET(self) -> None:
        if self.path != "/v2/":  # which is how it is found out what it speaks
            self.seen.append((self.command, self.path, self.headers.get("Authorization")))
        if type(self).manners(self):
            return
        if self.path == "/v2/":
            self.say(200)
        elif self.path in ("/v2/demo/api/manifests/one", f"/v2/demo/api/manifests/{A}"):
            self.say(200, {"Docker-Content-Digest": A}, BODY)
        else:
            self.say(404)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

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
    class RecordingHandler(Handler):
        seen: list[tuple[str, str, str | None]] = []

        @staticmethod
        def manners(_: Handler) -> bool:  # type: ignore[override]
            return False

    with ThreadingHTTPServer(("127.0.0.1", 0), RecordingHandler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{running.server_port}", RecordingHandler
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
    client = registry.Registry(host)
    client.ping()
    assert client.resolve_digest("demo/api", "one") == A
    assert client.resolve_digest("demo/api", A) == A
    assert client.resolve_digest("demo/api", "two") is None


def test_many_are_looked_up_at_once(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    refs = [f"{host}/demo/api:{number}" for number in range(50)] + [f"{host}/demo/api:one"]
    found = registry.resolve_digests(refs, WORKSPACE)
    assert list(found) == refs
    assert found == dict.fromkeys(refs[:-1]) | {refs[-1]: A}
    assert len(handler.seen) == 51
    assert registry.resolve_digests([], WORKSPACE) == {}


def test_without_the_digests_header_the_manifest_is_hashed(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    handler.manners = staticmethod(lambda self: not self.say(200, body=BODY))  # type: ignore[assignment]
    assert registry.Registry(host).resolve_digest("demo/api", "one") == A


def test_a_digest_that_is_not_that_of_the_bytes_is_never_returned(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    handler.manners = staticmethod(  # type: ignore[assignment]
        lambda self: not self.say(200, {"Docker-Content-Digest": B}, BODY)
    )
    client = registry.Registry(host)
    for ask in (client.resolve_digest, client.find_manifest, client.get_manifest):
        with pytest.raises(SlipwayError, match="gives other bytes than") as caught:
            ask("demo/api", "one")
        assert host in caught.value.message and A in caught.value.message
    with pytest.raises(SlipwayError, match="gives other bytes than"):
        client.resolve_digest("demo/api", A)
    handler.manners = staticmethod(lambda self: not self.say(200, body=BODY))  # type: ignore[assignment]
    with pytest.raises(SlipwayError, match=f"gives other bytes than {B}"):
        client.get_manifest("demo/api", B)
    with pytest.raises(SlipwayError, match=f"gives other bytes than {B}"):
        client.read_blob("demo/api", B, 100)


def test_a_blob_longer_than_it_may_be_is_refused(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    handler.manners = staticmethod(lambda self: not self.say(200, body=BODY))  # type: ignore[assignment]
    assert registry.Registry(host).read_blob("demo/api", A, len(BODY)) == BODY
    with pytest.raises(SlipwayError, match="more than 5 bytes"):
        registry.Registry(host).read_blob("demo/api", A, 5)


def test_tags_are_read_to_the_last_page_and_never_from_another_host(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    pages = {"": ("one", "two"), "last=two": ("three",), "last=three": ("one",)}

    def manners(self: Handler) -> bool:
        url = urlparse(self.path)
        if url.path != "/v2/demo/api/tags/list":
            return False
        after = {"": "last=two", "last=two": "last=three"}.get(url.query)
        link = f'<http://127.0.0.1:1/v2/demo/api/tags/list?{after}>; rel="next"'
        self.say(200, {"Link": link} if after else {}, json.dumps({"tags": pages[url.query]}).encode())
        return True

    handler.manners = staticmethod(manners)  # type: ignore[assignment]
    assert registry.Registry(host).list_tags("demo/api") == ("one", "two", "three")
    assert registry.Registry(host).list_tags("demo/none") == ()


def test_what_refers_to_an_image_comes_from_the_registry_page_by_page(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    index = "application/vnd.oci.image.index.v1+json"

    def manners(self: Handler) -> bool:
        url = urlparse(self.path)
        if url.path != f"/v2/demo/api/referrers/{A}":
            return False
        first = "page=2" not in url.query
        each = {"digest": A if first else B, "mediaType": "m", "size": 1, "artifactType": "sig" if first else "sbom"}
        headers = {"Content-Type": index, **({"Link": f'<{url.path}?page=2>; rel="next"'} if first else {})}
        self.say(200, headers, json.dumps({"manifests": [each, {"digest": "nonsense"}]}).encode())
        return True

    handler.manners = staticmethod(manners)  # type: ignore[assignment]
    client = registry.Registry(host)
    assert [each.digest for each in client.list_referrers("demo/api", A)] == [A, B]
    assert [each.digest for each in client.list_referrers("demo/api", A, "sbom")] == [B]
    assert client.has_referrers_api("demo/api", A)


def test_without_the_api_what_refers_to_an_image_is_in_the_index_under_its_tag(
    server: tuple[str, type[Handler]],
) -> None:
    host, handler = server
    each = {"digest": B, "mediaType": "m", "size": 7, "artifactType": "sig", "annotations": {"a": "b"}}

    def manners(self: Handler) -> bool:
        if not self.path.endswith(f"/manifests/{registry.fallback_tag(A)}"):
            return False
        self.say(200, body=json.dumps({"manifests": [each]}).encode())
        return True

    handler.manners = staticmethod(manners)  # type: ignore[assignment]
    client = registry.Registry(host)
    assert [found.descriptor() for found in client.list_referrers("demo/api", A)] == [each]
    assert client.list_referrers("demo/api", B) == []
    assert not client.has_referrers_api("demo/api", A)


def shelf(manifests: dict[str, bytes]) -> Callable[[Handler], bool]:
    """Manners of a registry whose tags can be written and deleted."""

    def manners(self: Handler) -> bool:
        tag = self.path.rpartition("/")[2]
        if self.command == "PUT":
            manifests.setdefault("written", b"")
            manifests[tag] = self.rfile.read(int(self.headers["Content-Length"]))
            self.say(201)
        elif tag in manifests:
            self.say(200, body=manifests[tag])
        else:
            return False
        return True

    return manners


def test_a_tag_is_given_once_and_never_moves(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    manifests: dict[str, bytes] = {"other": b"{}"}
    handler.manners = staticmethod(shelf(manifests))  # type: ignore[assignment]
    client = registry.Registry(host)
    client.add_tag("demo/api", A, "v1")
    assert manifests.pop("v1") == BODY
    del manifests["written"]
    client.add_tag("demo/api", A, "one")  # it has that already
    with pytest.raises(GateRefused, match=f":other is sha256:.* and was to be {A}") as caught:
        client.add_tag("demo/api", A, "other")
    assert caught.value.exit_code == 3
    assert manifests == {"other": b"{}"}


def test_a_tag_that_somebody_else_gives_at_the_same_moment_is_noticed(server: tuple[str, type[Handler]]) -> None:
    class OverwrittenTags(dict[str, bytes]):
        """Whatever is put there, somebody else's is there before the answer is sent."""

        def __setitem__(self, tag: str, _manifest: bytes) -> None:
            super().__setitem__(tag, b"{}")

    host, handler = server
    handler.manners = staticmethod(shelf(OverwrittenTags()))  # type: ignore[assignment]
    with pytest.raises(GateRefused, match="was to be"):
        registry.Registry(host).add_tag("demo/api", A, "v1")


def test_a_registry_that_allows_no_deletion_is_told_apart_from_a_missing_image(
    server: tuple[str, type[Handler]],
) -> None:
    host, handler = server
    assert not registry.Registry(host).delete_manifest("demo/api", B)
    handler.manners = staticmethod(lambda self: not self.say(405))  # type: ignore[assignment]
    with pytest.raises(SlipwayError, match="allows no deletion"):
        registry.Registry(host).delete_manifest("demo/api", A)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_catalog_that_is_not_offered_is_none(server: tuple[str, type[Handler]], status: int) -> None:
    host, handler = server
    assert registry.Registry(host).list_repositories() is None
    handler.manners = staticmethod(lambda self: not self.say(status))  # type: ignore[assignment]
    assert registry.Registry(host).list_repositories() is None
    handler.manners = staticmethod(lambda self: not self.say(200, body=b'{"repositories": ["a"]}'))  # type: ignore[assignment]
    assert registry.Registry(host).list_repositories() == ("a",)


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
    client = registry.Registry(host)
    assert client.resolve_digest("demo/api", "one") == A
    assert client.resolve_digest("demo/api", "two") is None
    assert client.resolve_digest("demo/web", "one") is None
    assert len([path for _, path, _ in handler.seen if path.startswith("/token")]) == 2


def test_a_token_is_fetched_without_a_login_where_none_is_wanted(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    handler.manners = staticmethod(bearer(host, ""))  # type: ignore[assignment]
    assert registry.Registry(host).resolve_digest("demo/api", "one") == A


def test_an_identity_token_is_exchanged(server: tuple[str, type[Handler]], docker_config: Path) -> None:
    host, handler = server
    auth = base64.b64encode(b"me:").decode()
    docker_config.write_text(json.dumps({"auths": {host: {"auth": auth, "identitytoken": "long-lived"}}}))
    handler.manners = staticmethod(bearer(host, "long-lived"))  # type: ignore[assignment]
    assert registry.Registry(host).resolve_digest("demo/api", "one") == A


def test_a_password_is_given_where_basic_is_asked(server: tuple[str, type[Handler]], docker_config: Path) -> None:
    host, handler = server

    def manners(self: Handler) -> bool:
        if self.headers.get("Authorization") == basic("me", "secret"):
            return False
        self.say(401, {"WWW-Authenticate": 'Basic realm="x"'})
        return True

    handler.manners = staticmethod(manners)  # type: ignore[assignment]
    with pytest.raises(SlipwayError, match="answers 401") as caught:
        registry.Registry(host).resolve_digest("demo/api", "one")
    assert f"docker login {host}" in caught.value.remedy
    docker_config.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(b"me:secret").decode()}}}))
    assert registry.Registry(host).resolve_digest("demo/api", "one") == A
    docker_config.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(b"me:wrong").decode()}}}))
    with pytest.raises(SlipwayError, match="answers 401") as caught:
        registry.Registry(host).resolve_digest("demo/api", "one")
    assert "wrong" not in f"{caught.value} {caught.value.detail} {caught.value.remedy}"


def test_a_credential_helper_is_asked_and_a_missing_one_is_named(
    docker_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_config.write_text(json.dumps({"credHelpers": {"ghcr.io": "test"}}))
    with pytest.raises(SlipwayError, match=r"login for ghcr\.io cannot be read"):
        read_login("ghcr.io")
    helper = tmp_path / "docker-credential-test"
    helper.write_text('#!/bin/sh\ncat > /dev/null\necho \'{"ServerURL": "x", "Username": "me", "Secret": "hush"}\'\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = read_login("ghcr.io")
    assert (found.user, found.password) == ("me", "hush")
    assert "hush" not in repr(found)


def test_each_purpose_logs_in_with_its_own_config(
    server: tuple[str, type[Handler]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, handler = server
    for purpose in ("push", "pull"):
        (tmp_path / purpose).mkdir()
        auth = base64.b64encode(f"{purpose}:secret".encode()).decode()
        (tmp_path / purpose / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))

    def manners(self: Handler) -> bool:
        if self.headers.get("Authorization") == basic("pull", "secret"):
            return False
        self.say(401 if "Authorization" not in self.headers else 403, {"WWW-Authenticate": 'Basic realm="x"'})
        return True

    handler.manners = staticmethod(manners)  # type: ignore[assignment]
    settings = WorkspaceSettings("demo", host, logins=LoginSettings(push="push", pull="pull"))
    workspace = Workspace(tmp_path, settings, ())
    for variable in CONFIG_VARIABLES.values():
        monkeypatch.setenv(variable, "")
    assert login_environment(workspace, "pull") == {"DOCKER_CONFIG": str(tmp_path / "pull")}
    check_logins(workspace)
    assert registry.resolve_digests([f"{host}/demo/api:one"], workspace) == {f"{host}/demo/api:one": A}
    with pytest.raises(SlipwayError, match="answers 403") as caught:
        registry.open_registry(host, "push", workspace).delete_manifest("demo/api", A)
    assert f"docker --config {tmp_path / 'push'} login {host}" in caught.value.remedy
    assert "secret" not in f"{caught.value} {caught.value.detail} {caught.value.remedy}"
    assert not any(os.environ[variable] for variable in CONFIG_VARIABLES.values()), "values are passed, not exported"
    monkeypatch.setenv("SLIPWAY_PUSH_CONFIG", str(tmp_path / "pull"))
    assert login_config_of(workspace, "push") == tmp_path / "pull"


def test_a_folder_without_a_config_is_refused_and_the_user_s_own_is_not_taken(
    tmp_path: Path, docker_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_config.write_text("{}")
    monkeypatch.delenv("SLIPWAY_PUSH_CONFIG", raising=False)
    workspace = Workspace(tmp_path, WorkspaceSettings("demo", "r", logins=LoginSettings(push="nowhere")), ())
    with pytest.raises(ConfigError, match=r"\[logins\] push is .*nowhere, which holds no config"):
        login_config_of(workspace, "push")
    assert login_environment(workspace, "pull") == {}
    monkeypatch.setenv("SLIPWAY_PULL_CONFIG", str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="the environment variable SLIPWAY_PULL_CONFIG"):
        registry.resolve_digests(["127.0.0.1:1/a:t"], workspace)


def test_a_login_that_has_expired_is_asked_for_again(
    server: tuple[str, type[Handler]], tmp_path: Path, docker_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, handler = server
    now = {"password": "1"}

    def manners(self: Handler) -> bool:
        if self.headers.get("Authorization") == basic("me", now["password"]):
            return False
        self.say(401, {"WWW-Authenticate": 'Basic realm="x"'})
        return True

    handler.manners = staticmethod(manners)  # type: ignore[assignment]
    helper = tmp_path / "docker-credential-short"
    helper.write_text(
        f"""#!/bin/sh
cat > /dev/null; n=$(cat {tmp_path}/asked 2>/dev/null || echo 0); n=$((n + 1)); echo $n > {tmp_path}/asked
echo '{{"ServerURL": "x", "Username": "me", "Secret": "'$n'"}}'
"""
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    docker_config.write_text(json.dumps({"credHelpers": {host: "short"}}))
    before = docker_config.read_text()
    client = registry.Registry(host)
    assert client.resolve_digest("demo/api", "one") == A
    now["password"] = "2"
    assert client.resolve_digest("demo/api", "one") == A
    assert (tmp_path / "asked").read_text() == "2\n"
    assert docker_config.read_text() == before


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
        registry.Registry(host).resolve_digest("demo/api", "one")
    assert next(counter) < 5


def test_a_registry_that_is_down_is_named_with_the_remedy() -> None:
    with pytest.raises(SlipwayError, match=r"127\.0\.0\.1:1 does not answer") as caught:
        registry.resolve_digests(["127.0.0.1:1/a:t", "127.0.0.1:1/b:t"], WORKSPACE)
    assert "invoke setup" in caught.value.remedy


def test_what_is_no_registry_is_told_apart(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    handler.manners = staticmethod(lambda self: not self.say(404))  # type: ignore[assignment]
    with pytest.raises(SlipwayError, match="is not a registry: 404"):
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
    assert registry.Registry(host).resolve_digest("demo/api", "one") == A


def test_a_registry_that_stays_broken_is_an_error(server: tuple[str, type[Handler]]) -> None:
    host, handler = server
    handler.manners = staticmethod(lambda self: not self.say(500))  # type: ignore[assignment]
    with pytest.raises(SlipwayError, match="answers 500"):
        registry.Registry(host).resolve_digest("demo/api", "one")


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
    host, _ = server
    digest = built(tmp_path / "oci", BODY)
    ref = f"{host}/demo/api:one"
    assert registry.push_layout(fake_crane(tmp_path), tmp_path / "oci", ref) == digest == A
    assert not (tmp_path / "asked").exists()  # it was there
    with pytest.raises(SlipwayError, match="not there in the registry"):
        registry.push_layout(fake_crane(tmp_path), tmp_path / "oci", f"{host}/demo/api:none")
    assert (tmp_path / "asked").read_text() == f"push {tmp_path}/oci {host}/demo/api:none --insecure\n"


def test_a_tag_with_other_bytes_is_not_pushed_over(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    host, _ = server
    digest = built(tmp_path / "oci", b"{}")
    with pytest.raises(GateRefused, match=f"is {A} in the registry, and was to be {digest}"):
        registry.push_layout(fake_crane(tmp_path), tmp_path / "oci", f"{host}/demo/api:one")
    assert not (tmp_path / "asked").exists()


def test_a_push_by_digest_names_no_tag(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    host, _ = server
    digest = built(tmp_path / "oci", b"{}")
    with pytest.raises(SlipwayError, match="does not have sha256:"):
        registry.push_by_digest(fake_crane(tmp_path), tmp_path / "oci", f"{host}/demo/api")
    assert (tmp_path / "asked").read_text() == f"push {tmp_path}/oci {host}/demo/api@{digest} --insecure\n"
    built(tmp_path / "two", BODY)
    assert registry.push_by_digest(fake_crane(tmp_path), tmp_path / "two", f"{host}/demo/api") == A


def test_a_push_that_fails_shows_why(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    host, _ = server
    built(tmp_path / "oci", b"{}")
    with pytest.raises(SlipwayError, match="was not pushed") as caught:
        registry.push_layout(fake_crane(tmp_path, 1), tmp_path / "oci", f"{host}/demo/api:none")
    assert caught.value.detail == "pushing"
    with pytest.raises(SlipwayError, match="does not answer"):
        registry.push_layout(fake_crane(tmp_path, 1), tmp_path / "oci", "127.0.0.1:1/demo/api:one")
