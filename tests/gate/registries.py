"""Real registries with logins and TLS, a hostile one in front of them, and small images to put there."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import io
import json
import os
import socket
import subprocess
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from slipway._internal.run.process import run
from slipway._internal.toolchain.install import ensure_tool

ACCOUNTS = {"pusher": "push-secret", "puller": "pull-secret"}
# The registry takes bcrypt alone, which Python does not come with: these are the two passwords of ACCOUNTS.
HTPASSWD = """\
pusher:$2y$04$abcdefghijklmnopqrstuuwph9OfiPxiT17JCasncaJkSdUmhny0i
puller:$2y$04$abcdefghijklmnopqrstuuH5wTQzvC3Zall/mZjSDa23DrVdMWhT6
"""
OCI = "application/vnd.oci.image."
INDEX, MANIFEST, CONFIG, LAYER = (
    f"{OCI}{kind}" for kind in ("index.v1+json", "manifest.v1+json", "config.v1+json", "layer.v1.tar+gzip")
)
READY_SECONDS = 60.0
WRITES = ("PUT", "POST", "PATCH", "DELETE")


@dataclass(frozen=True)
class Running:
    """A registry that runs: where, and where it has its files."""

    host: str
    data: Path


@contextmanager
def serve(folder: Path, *, login: bool = False, certificate: Path | None = None) -> Iterator[Running]:
    """Run a real registry with its files in a folder; `certificate` (with its key beside it) makes it speak TLS."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"delete": {"enabled": True}, "filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    if login:
        (folder / "htpasswd").write_text(HTPASSWD)
        settings["auth"] = {"htpasswd": {"realm": "slipway", "path": str(folder / "htpasswd")}}
    if certificate:
        settings["http"]["tls"] = {"certificate": str(certificate), "key": str(certificate.with_suffix(".key"))}
    (folder / "config.yml").write_text(json.dumps(settings))  # JSON is YAML
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [str(ensure_tool("registry")), "serve", str(folder / "config.yml")],
            stdout=log,
            stderr=log,
            env={"OTEL_TRACES_EXPORTER": "none", "PATH": os.defpath},
        )
    try:
        wait_for(port)
        yield Running(f"127.0.0.1:{port}", folder / "data")
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """Return a port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until something listens on a port of this machine."""
    end = time.monotonic() + READY_SECONDS
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with suppress(OSError):
            connection.connect()
            connection.close()
            return
        assert time.monotonic() < end, f"nothing listens on {port}"
        time.sleep(0.02)


def certificate(folder: Path) -> Path:
    """Make a certificate for this machine's loopback address, and its key beside it; return the certificate."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "registry.pem"
    argv = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    argv += ["-days", "2", "-subj", "/CN=slipway-test", "-addext", "subjectAltName=IP:127.0.0.1"]
    result = run([*argv, "-keyout", made.with_suffix(".key"), "-out", made], timeout=60)
    assert result.code == 0, result.output
    return made


def docker_config(folder: Path, logins: Mapping[str, str]) -> Path:
    """Write a Docker config with an account for each registry (host → name in ACCOUNTS); return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    auths = {
        host: {"auth": base64.b64encode(f"{user}:{ACCOUNTS[user]}".encode()).decode()} for host, user in logins.items()
    }
    (folder / "config.json").write_text(json.dumps({"auths": auths}))
    return folder


def image(folder: Path, text: str, *, shared: bytes = b"", size: int = 0) -> Path:
    """Make an OCI layout as a build leaves it: an index of an image and a manifest about how it was built.

    Args:
        folder: where.
        text: makes it differ from others.
        shared: what a first layer holds that several images can have.
        size: random bytes in a layer of its own.
    """
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(kind: str, content: bytes, **more: object) -> dict[str, Any]:
        value = hashlib.sha256(content).hexdigest()
        (blobs / value).write_bytes(content)
        return {"mediaType": kind, "digest": f"sha256:{value}", "size": len(content), **more}

    contents = [each for each in (shared, text.encode() + os.urandom(size)) if each]
    tars = [_tar(each) for each in contents]
    layers = [put(LAYER, gzip.compress(each, mtime=0)) for each in tars]
    diffs = [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in tars]
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}}
    head = {"schemaVersion": 2, "mediaType": MANIFEST, "config": put(CONFIG, json.dumps(config).encode())}
    real = put(
        MANIFEST, json.dumps({**head, "layers": layers}).encode(), platform={"os": "linux", "architecture": "amd64"}
    )
    about = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": put(CONFIG, json.dumps({**config, "about": text}).encode()),
    }
    statement = put("application/vnd.in-toto+json", json.dumps({"built": text}).encode())
    attestation = put(
        MANIFEST,
        json.dumps({**about, "layers": [statement]}).encode(),
        platform={"os": "unknown", "architecture": "unknown"},
    )
    index = put(INDEX, json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [real, attestation]}).encode())
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [index]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def _tar(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("file")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@dataclass(frozen=True)
class Signer:
    """A key pair that signs and attests with the real cosign."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, environment: Mapping[str, str] | None = None) -> Signer:
        """Make a key pair in a new folder."""
        folder.mkdir(parents=True)
        made = cls(folder, dict(environment or {}))
        made._cosign("generate-key-pair", stdin="secret")
        return made

    def sign(self, ref: str) -> None:
        """Sign an image and attest something about it."""
        offline = ("--key", "cosign.key", "--use-signing-config=false", "--tlog-upload=false", "-y")
        self._cosign("sign", *offline, ref, stdin="secret")
        (self.folder / "predicate.json").write_text('{"found": "nothing"}')
        predicate = ("--predicate", "predicate.json", "--type", "https://example.org/found")
        self._cosign("attest", *offline, *predicate, ref, stdin="secret")

    def verify(self, ref: str) -> None:
        """Make sure that an image bears this key's signature and attestation."""
        offline = ("--key", "cosign.pub", "--insecure-ignore-tlog")
        self._cosign("verify", *offline, ref)
        self._cosign("verify-attestation", *offline, "--type", "https://example.org/found", ref)

    def _cosign(self, *words: str, stdin: str | None = None) -> None:
        environment = {"HOME": str(self.folder), **self.environment}
        result = run([ensure_tool("cosign"), *words], cwd=self.folder, env=environment, stdin=stdin, timeout=120)
        assert result.code == 0, result.output


Manner = Callable[["Front"], bool]
"""What a front does with a request itself; False lets the real registry answer it."""


class Front(BaseHTTPRequestHandler):
    """Stands before a real registry and passes on what its manners leave."""

    upstream: str
    manners: list[Manner]
    seen: list[tuple[str, str]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = self._chunks()
        self.seen.append((self.command, self.path))
        with suppress(BrokenPipeError, ConnectionResetError):
            if not any(manner(self) for manner in type(self).manners):
                self.say(*self.passed_on())

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def passed_on(self) -> tuple[int, dict[str, str], bytes]:
        """Return the real registry's answer."""
        kept = {key: value for key, value in self.headers.items() if key.lower() not in ("transfer-encoding", "host")}
        request = urllib.request.Request(
            f"http://{self.upstream}{self.path}",
            self.body if self.command in WRITES else None,
            {**kept, "Host": self.headers["Host"]},
            method=self.command,
        )
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def say(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """Answer; of a HEAD, the length that the headers name is told."""
        self.send_response(status)
        given = {key: value for key, value in (headers or {}).items() if key.lower() not in ("date", "server")}
        if self.command != "HEAD" or "Content-Length" not in given:
            given["Content-Length"] = given.get("Content-Length", str(len(body)))
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def account(self) -> str:
        """Return who asks, by HTTP's basic authentication; empty for nobody known."""
        scheme, _, value = (self.headers.get("Authorization") or "").partition(" ")
        if scheme.lower() != "basic":
            return ""
        user, _, password = base64.b64decode(value).decode().partition(":")
        return user if ACCOUNTS.get(user) == password else ""

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Ends without waiting for answers that never end."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def front(upstream: str, *manners: Manner) -> Iterator[tuple[str, type[Front]]]:
    """Run a front before a real registry; yield its host, and the class that bears its manners."""

    class Mine(Front):
        pass

    Mine.upstream, Mine.manners, Mine.seen = upstream, list(manners), []
    server = Server(("127.0.0.1", 0), Mine)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", Mine
    finally:
        server.shutdown()
        server.server_close()


def failing(status: int, times: int = 10**9) -> Manner:
    """Answer with a status, so many times."""
    left = [times]

    def manner(self: Front) -> bool:
        if self.path == "/v2/" or not left[0]:
            return False
        left[0] -= 1
        self.say(status, {}, b'{"errors": []}')
        return True

    return manner


def dripping(part: str, *, headers: bool = False) -> Manner:
    """Send a byte of an answer now and then, of requests whose path has this part; never to the end."""

    def manner(self: Front) -> bool:
        if part not in self.path or self.command == "HEAD":
            return False
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" if headers else b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        with suppress(OSError):
            while True:
                self.wfile.write(b"X-Drip: 1\r\n" if headers else b" ")
                time.sleep(0.05)
        return True

    return manner


def cut_short(part: str) -> Manner:
    """End an answer in its middle, of requests whose path has this part."""

    def manner(self: Front) -> bool:
        if part not in self.path or self.command != "GET":
            return False
        status, headers, body = self.passed_on()
        self.say(status, {**headers, "Content-Length": str(len(body))}, body[: len(body) // 2])
        self.close_connection = True
        return True

    return manner


def changed(part: str) -> Manner:
    """Change bytes of an answer and leave its headers, of requests whose path has this part."""

    def manner(self: Front) -> bool:
        if part not in self.path or self.command != "GET":
            return False
        status, headers, body = self.passed_on()
        self.say(status, headers, body.replace(b"2", b"3", 1) if status == 200 else body)
        return True

    return manner


def lying(digest: str) -> Manner:
    """Say of every manifest that it has this digest."""

    def manner(self: Front) -> bool:
        if "/manifests/" not in self.path or self.command not in ("GET", "HEAD"):
            return False
        status, headers, body = self.passed_on()
        self.say(status, {**headers, "Docker-Content-Digest": digest} if status == 200 else headers, body)
        return True

    return manner


def accounts(self: Front) -> bool:
    """Want a login for all, and let only the pusher write."""
    if not self.account():
        self.say(401, {"WWW-Authenticate": 'Basic realm="slipway"'}, b'{"errors": [{"code": "UNAUTHORIZED"}]}')
    elif self.command in WRITES and self.account() != "pusher":
        self.say(403, {}, b'{"errors": [{"code": "DENIED", "message": "this account may not write"}]}')
    else:
        return False
    return True


@dataclass
class Tokens:
    """A token service: each token serves for some requests only, and for reading unless the pusher asked for it."""

    uses: int
    given: list[str] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, front: Front) -> bool:
        url = urlsplit(front.path)
        if url.path == "/token":
            user = front.account()
            wanted = parse_qs(url.query).get("scope", [""])[0]
            token = f"{user}-{'write' if 'push' in wanted or 'delete' in wanted else 'read'}-{len(self.given)}"
            if not user or ("-write-" in token and user != "pusher"):
                front.say(403, {}, b'{"errors": []}')
                return True
            with self.lock:
                self.given.append(token)
                self.left[token] = self.uses
            front.say(200, {"Content-Type": "application/json"}, json.dumps({"token": token}).encode())
            return True
        token = (front.headers.get("Authorization") or "").removeprefix("Bearer ")
        with self.lock:
            good = self.left.get(token, 0) > 0 and (front.command not in WRITES or "-write-" in token)
            if good:
                self.left[token] -= 1
        if good:
            return False
        host = front.headers["Host"]
        action = "pull,push,delete" if front.command in WRITES else "pull"
        challenge = f'Bearer realm="http://{host}/token",service="slipway",scope="repository:all:{action}"'
        front.say(401, {"WWW-Authenticate": challenge}, b'{"errors": [{"code": "UNAUTHORIZED"}]}')
        return True


class Referrers:
    """The referrers API, which the real registry lacks: made of the manifests that are written, two to a page."""

    def __init__(self) -> None:
        self.known: dict[str, list[dict[str, Any]]] = {}

    def __call__(self, front: Front) -> bool:
        url = urlsplit(front.path)
        if "/referrers/" in url.path:
            start = int(parse_qs(url.query).get("start", ["0"])[0])
            found = self.known.get(url.path.rpartition("/")[2], [])
            headers = {"Content-Type": INDEX}
            if found[start + 2 :]:
                headers["Link"] = f'<{url.path}?start={start + 2}>; rel="next"'
            body = {"schemaVersion": 2, "mediaType": INDEX, "manifests": found[start : start + 2]}
            front.say(200, headers, json.dumps(body).encode())
            return True
        if front.command == "PUT" and "/manifests/" in url.path:
            written = json.loads(front.body)
            if subject := written.get("subject"):
                digest = f"sha256:{hashlib.sha256(front.body).hexdigest()}"
                kind = written.get("artifactType", "")
                each = {"mediaType": MANIFEST, "digest": digest, "size": len(front.body), "artifactType": kind}
                listed = self.known.setdefault(subject["digest"], [])
                listed += [each] if each not in listed else []
        return False
