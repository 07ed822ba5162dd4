"""The few requests that the node's setup makes of its API server."""

from __future__ import annotations

import io
import json
import ssl
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.toolchain.cluster import api
from slipway._internal.toolchain.cluster.config import API_URL
from slipway._internal.toolchain.cluster.layout import NodeLayout


class Server:
    """An API server: what it was asked, and what it answers."""

    def __init__(self) -> None:
        self.asked: list[urllib.request.Request] = []
        self.certificates: list[str] = []
        self.answer: str | Exception = "{}"

    def open(self, request: urllib.request.Request, timeout: float) -> Any:
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return io.BytesIO(self.answer.encode())

    def load_cert_chain(self, *files: Path) -> None:
        self.certificates = [path.name for path in files]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(ssl, "create_default_context", lambda cafile: found)
    monkeypatch.setattr(urllib.request, "HTTPSHandler", lambda context: context)
    monkeypatch.setattr(urllib.request, "build_opener", lambda *_handlers: found)
    return found


@pytest.fixture
def layout(tmp_path: Path) -> NodeLayout:
    return NodeLayout(tmp_path)


def refusal(text: str) -> urllib.error.HTTPError:
    return urllib.error.HTTPError(API_URL, 422, "Unprocessable", Message(), io.BytesIO(text.encode()))


def test_an_answer_is_json_or_text(server: Server, layout: NodeLayout) -> None:
    server.answer = '{"gitVersion": "v1"}'
    assert api.get_path(layout, "/version") == {"gitVersion": "v1"}
    server.answer = "ok"
    assert api.get_path(layout, "/readyz") == "ok"
    assert [request.full_url for request in server.asked] == [f"{API_URL}/version", f"{API_URL}/readyz"]
    assert server.certificates == ["admin.crt", "admin.key"]


@pytest.mark.parametrize(("answer", "ready"), [("ok", True), (OSError("refused"), False), (refusal("no"), False)])
def test_a_server_is_ready_when_it_says_so(
    server: Server, layout: NodeLayout, answer: str | Exception, ready: bool
) -> None:
    server.answer = answer
    assert api.is_api_ready(layout) is ready


@pytest.mark.parametrize("document", [{"kind": "ClusterRole"}, "kind: ClusterRole\n"])
def test_an_object_is_applied_as_the_nodes_own(server: Server, layout: NodeLayout, document: Any) -> None:
    api.apply_object(layout, document, "ClusterRole", "dns")
    (request,) = server.asked
    assert request.method == "PATCH" and request.get_header("Content-type") == api.APPLY_TYPE
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/dns?fieldManager=slipway-cluster&force=true"
    assert request.full_url == f"{API_URL}{path}"
    assert isinstance(request.data, bytes)
    assert request.data.decode() == (document if isinstance(document, str) else json.dumps(document))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refusal('{"message": "name is not valid"}'), "name is not valid"),
        (refusal("plain words"), "plain words"),
        (OSError("connection refused"), "connection refused"),
    ],
)
def test_what_the_server_refuses_is_told_by_object_and_reason(
    server: Server, layout: NodeLayout, answer: Exception, said: str
) -> None:
    server.answer = answer
    with pytest.raises(SlipwayError, match="ClusterRole dns") as caught:
        api.apply_object(layout, "kind: ClusterRole", "ClusterRole", "dns")
    assert said in caught.value.message + caught.value.detail


@pytest.mark.parametrize(("status", "well"), [(200, True), (500, False), (None, False)])
def test_a_part_is_well_when_it_says_so(monkeypatch: pytest.MonkeyPatch, status: int | None, well: bool) -> None:
    class Answer(SimpleNamespace):
        def __enter__(self) -> Answer:
            return self

        def __exit__(self, *_: object) -> None: ...

    def answer(*_: Any, **__: Any) -> Answer:
        if status is None:
            raise OSError("refused")
        return Answer(status=status)

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    assert api.is_healthy("http://127.0.0.1:1/healthz") is well
