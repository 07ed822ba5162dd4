"""The API server, by plain requests over kept connections: kinds by discovery, objects as parsed JSON."""

from __future__ import annotations

import base64
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
import yaml

CONNECTIONS = 64
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
DEFAULT = "default"
TIMEOUT = urllib3.Timeout(connect=5, read=60)

Object = dict[str, Any]


class ApiError(Exception):
    """The API server refused; `reason` is its word for why (`NotFound`, `AlreadyExists`, `Forbidden`, `Invalid`)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


class NoKind(ApiError):
    """The API server knows no such kind, or not yet."""


@dataclass(frozen=True)
class Kind:
    """Where the objects of one kind are."""

    api_version: str
    name: str
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        """Return the path of one object, or of all of a namespace."""
        base = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        folder = f"/namespaces/{namespace}" if self.namespaced else ""
        return f"{base}{folder}/{self.plural}" + (f"/{name}" if name else "")


class Client:
    """One cluster, as one user. Good for many threads."""

    def __init__(self, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
        config = _loaded(kubeconfig)
        name = context or config.get("current-context") or ""
        chosen = _named(config, "contexts", name, "context")
        cluster = _named(config, "clusters", chosen["cluster"], "cluster")
        user = _named(config, "users", chosen["user"], "user") if chosen.get("user") else {}
        self.namespace = namespace or chosen.get("namespace") or DEFAULT
        self._server = cluster["server"].rstrip("/")
        self._headers = {"Accept": "application/json"}
        if token := user.get("token"):
            self._headers["Authorization"] = f"Bearer {token}"
        if user.get("exec") or user.get("auth-provider"):
            raise ValueError(f"the user of context {name} logs in by a program, which this stand-in does not run")
        self._pool = _pool(cluster, user)
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._lock = threading.Lock()

    def kind(self, api_version: str, name: str, *, fresh: bool = False) -> Kind:
        """Return a kind. Raises NoKind when the API server does not serve it."""
        with self._lock:
            if fresh or (api_version, name) not in self._kinds:
                self._discover(api_version)
            if found := self._kinds.get((api_version, name)):
                return found
        raise NoKind(404, "NoKindMatch", f'no matches for kind "{name}" in version "{api_version}"')

    def get(self, path: str, **query: str) -> Object:
        """Return what is at a path. Raises ApiError."""
        return self._ask("GET", path, query)

    def create(self, path: str, body: Object, *, manager: str, dry: bool) -> Object:
        """Create an object. Raises ApiError: AlreadyExists among others."""
        return self._ask("POST", path, {"fieldManager": manager, **_dry(dry)}, body, "application/json")

    def apply(self, path: str, body: Object, *, manager: str, force: bool, dry: bool) -> Object:
        """Change an object by server-side apply. Raises ApiError: Conflict where another manager owns a field."""
        query = {"fieldManager": manager, "force": str(force).lower(), **_dry(dry)}
        return self._ask("PATCH", path, query, body, APPLY)

    def patch(self, path: str, operations: list[Object]) -> Object:
        """Change an object by a JSON patch. Raises ApiError."""
        return self._ask("PATCH", path, {}, operations, JSON_PATCH)

    def delete(self, path: str, *, propagation: str) -> None:
        """Delete an object; one that is not there is no error. Raises ApiError."""
        with suppress_missing():
            self._ask("DELETE", path, {}, {"propagationPolicy": propagation}, "application/json")

    def watch(self, path: str, version: str, seconds: int) -> Iterator[Object]:
        """Yield the events of all objects at a path from a version on, for so many seconds. Raises ApiError."""
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(seconds)}
        answer = self._pool.request(
            "GET",
            self._server + path,
            fields=query,
            headers=self._headers,
            preload_content=False,
            timeout=urllib3.Timeout(connect=5, read=seconds + 10),
        )
        try:
            if answer.status >= 300:
                raise _error(answer.status, answer.data)
            rest = b""
            for chunk in answer.stream(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (json.loads(line) for line in lines if line)
        finally:
            answer.close()

    def _ask(self, method: str, path: str, query: Mapping[str, str], body: Any = None, kind: str = "") -> Object:
        headers = {**self._headers, **({"Content-Type": kind} if kind else {})}
        url = self._server + path + (f"?{'&'.join(f'{key}={value}' for key, value in query.items())}" if query else "")
        data = json.dumps(body).encode() if body is not None else None
        # Only what changes nothing is asked again: a create that was cut off may have happened.
        retries = urllib3.Retry(3, backoff_factor=0.2) if method == "GET" else False
        answer = self._pool.request(method, url, body=data, headers=headers, timeout=TIMEOUT, retries=retries)
        if answer.status >= 300:
            raise _error(answer.status, answer.data)
        parsed: Object = json.loads(answer.data)
        return parsed

    def _discover(self, api_version: str) -> None:
        base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        with suppress_missing():
            for each in self._ask("GET", base, {})["resources"]:
                if "/" not in each["name"]:
                    kind = Kind(api_version, each["kind"], each["name"], each["namespaced"])
                    self._kinds[api_version, each["kind"]] = kind


class suppress_missing(suppress):
    """Suppress an ApiError that says that something is not there."""

    def __init__(self) -> None:
        super().__init__(ApiError)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        return isinstance(error, ApiError) and error.status in {404, 410}


class Mirror:
    """All objects of one kind in one namespace, kept current by a watch, for as long as somebody waits for one."""

    def __init__(self, client: Client, path: str) -> None:
        self._client, self._path = client, path
        self._objects: dict[str, Object] = {}
        self._changed = threading.Condition()
        self._waiting = 0
        self._running = False

    def wait(self, name: str, done: Callable[[Object], bool], seconds: float, stop: threading.Event) -> Object | None:
        """Return an object when it is `done`; None when time is over or `stop` is set."""
        import time

        end = time.monotonic() + seconds
        with self._changed:
            self._waiting += 1
            if not self._running:
                self._running = True
                self._objects.clear()
                threading.Thread(target=self._follow, daemon=True).start()
            try:
                while not stop.is_set() and (left := end - time.monotonic()) > 0:
                    found = self._objects.get(name)
                    if found is not None and done(found):
                        return found
                    self._changed.wait(min(left, 0.5))
                return None
            finally:
                self._waiting -= 1

    def _follow(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._running = False
                    return
            with suppress(ApiError, urllib3.exceptions.HTTPError, ValueError):
                listed = self._client.get(self._path)
                with self._changed:
                    self._objects = {each["metadata"]["name"]: each for each in listed.get("items") or []}
                    self._changed.notify_all()
                self._events(listed["metadata"]["resourceVersion"])
            with self._changed:
                self._changed.wait(0.2)

    def _events(self, version: str) -> None:
        for event in self._client.watch(self._path, version, 30):
            about = event["object"]
            with self._changed:
                if event["type"] == "ERROR":
                    return
                if event["type"] == "DELETED":
                    self._objects.pop(about["metadata"]["name"], None)
                elif event["type"] in {"ADDED", "MODIFIED"}:
                    self._objects[about["metadata"]["name"]] = about
                self._changed.notify_all()
                if not self._waiting:
                    return


def _error(status: int, data: bytes) -> ApiError:
    with suppress(ValueError):
        about = json.loads(data)
        return ApiError(status, str(about.get("reason", "")), str(about.get("message", "")))
    return ApiError(status, "", data.decode(errors="replace")[:500])


def _dry(dry: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry else {}


def _loaded(kubeconfig: str | None) -> Object:
    """Read a kubeconfig: its text, a path, else what kubectl takes. The first of several is taken."""
    if kubeconfig and ("\n" in kubeconfig or kubeconfig.lstrip().startswith("{")):
        text = kubeconfig
    else:
        named = kubeconfig or os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or "~/.kube/config"
        text = Path(named).expanduser().read_text(encoding="utf-8")
    parsed: Object = yaml.safe_load(text)
    return parsed


def _named(config: Object, many: str, name: str, one: str) -> Object:
    for each in config.get(many) or []:
        if each["name"] == name:
            found: Object = each[one] or {}
            return found
    raise ValueError(f"the kubeconfig has no {one} named {name!r}")


def _pool(cluster: Object, user: Object) -> urllib3.PoolManager:
    options: dict[str, Any] = {"maxsize": CONNECTIONS, "block": False}
    with tempfile.TemporaryDirectory() as folder:
        context = urllib3.util.create_urllib3_context()
        if cluster.get("insecure-skip-tls-verify"):
            options["cert_reqs"] = "CERT_NONE"
            context.check_hostname = False
        elif authority := _material(cluster, "certificate-authority", Path(folder)):
            context.load_verify_locations(authority)
        else:
            context.load_default_certs()
        certificate = _material(user, "client-certificate", Path(folder))
        key = _material(user, "client-key", Path(folder))
        if certificate and key:
            context.load_cert_chain(certificate, key)
    return urllib3.PoolManager(ssl_context=context, **options)


def _material(table: Object, name: str, folder: Path) -> str | None:
    if data := table.get(f"{name}-data"):
        file = folder / name
        file.touch(mode=0o600)
        file.write_bytes(base64.b64decode(data))
        return str(file)
    path = table.get(name)
    return str(path) if path else None
