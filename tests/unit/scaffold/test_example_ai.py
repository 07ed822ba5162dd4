"""The example with a language model stays one that can be deployed: its services fit the kinds as they are now."""

from __future__ import annotations

import http.server
import json
import shutil
import sys
import threading
import tomllib
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.conftest import ROOT, TEMPLATE

from slipway._internal.model.workspace import load_workspace
from slipway._internal.scaffold import service_creation

EXAMPLE = ROOT / "examples" / "ai"


def module(file: Path) -> ModuleType:
    """Return a program of the example as a module."""
    spec = spec_from_file_location(f"example_{file.stem}", file)
    assert spec and spec.loader
    found = module_from_spec(spec)
    sys.modules[spec.name] = found  # for its own annotations
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with the example's services, added as its program does."""
    (tmp_path / "workspace.toml").write_text('name = "demo"\nregistry = "127.0.0.1:5000"\n', encoding="utf-8")
    shutil.copytree(TEMPLATE / "libs", tmp_path / "libs")
    for name, kind in (("valkey", "valkey"), ("ai", "ai-gateway")):
        service_creation.create_service(tmp_path, name, kind)
    module(EXAMPLE / "demo.py").copy_services(tmp_path)
    return tmp_path


def test_the_workspace_is_right_and_each_service_gets_what_it_asks_for(root: Path) -> None:
    services = {service.name: service.settings for service in load_workspace(root).services}
    assert set(services["ai"].needs) == {"valkey", "llama"}
    assert set(services["ai"].secrets) == {"TENANT_KEYS"}
    assert set(services["digest"].needs) == {"ai"} and set(services["digest"].secrets) == {"AI_KEY"}
    assert f"http://llama:{services['llama'].port}/v1" in (root / "services/ai/ai/models.toml").read_text("utf-8")


def test_models_tenants_and_prompts_name_each_other(root: Path) -> None:
    folder = root / "services" / "ai" / "ai"
    models = tomllib.loads((folder / "models.toml").read_text(encoding="utf-8"))["models"]
    tenants = tomllib.loads((folder / "tenants.toml").read_text(encoding="utf-8"))["tenants"]
    assert all(set(tenant["models"]) <= set(models) for tenant in tenants.values())
    assert module(EXAMPLE / "demo.py").CALLER.partition("/")[0] in tenants
    (prompt,) = (folder / "prompts").glob("*.md")
    assert prompt.stem == module(EXAMPLE / "services" / "digest" / "digest.py").PROMPT
    front = tomllib.loads(prompt.read_text(encoding="utf-8").split("+++\n")[1])
    assert front["model"] in models
    assert front["parameters"]["max-output"] <= models[front["model"]]["max-output"]
    assert set(front["variables"]) == {"text"}


@pytest.mark.parametrize("name", ["llama", "digest"])
def test_each_file_that_a_dockerfile_copies_is_in_its_context(name: str) -> None:
    folder = EXAMPLE / "services" / name
    lines = (folder / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [line.split()[2:-1] for line in lines if line.startswith("COPY --chmod")]
    allowed = (folder / ".dockerignore").read_text(encoding="utf-8").splitlines()
    files = [file for each in copied for file in each]
    assert files and all((folder / file).is_file() and f"!{file}" in allowed for file in files)


class Gateway(http.server.BaseHTTPRequestHandler):
    """Answers a prompt as the gateway does; the text `too much` as it does when a budget is used up."""

    asked: list[tuple[str, str | None, Any]]

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers["Authorization"], sent))
        refused = sent["variables"]["text"] == "too much"
        body = {"error": {"code": "budget_exceeded"}} if refused else {"output": "Short.", "version": "1-abc"}
        data = json.dumps(body).encode()
        self.send_response(402 if refused else 200)
        self.send_header("X-AI-Cost", "0.000010000")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The service's program, with a gateway that answers and a key."""
    found = module(EXAMPLE / "services" / "digest" / "digest.py")
    monkeypatch.setattr(found, "KEY_FILE", tmp_path / "AI_KEY")
    found.KEY_FILE.write_text("sk-of-digest\n", encoding="utf-8")
    monkeypatch.setattr(Gateway, "asked", [], raising=False)
    server = http.server.HTTPServer(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AI_URL", f"http://127.0.0.1:{server.server_port}/ai")
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_service_asks_the_prompt_with_its_key_and_passes_on_what_the_gateway_says(digest: ModuleType) -> None:
    assert digest.summarise("A long text") == (
        200, {"summary": "Short.", "prompt": "summarize@1-abc", "cost": 0.00001},
    )  # fmt: skip
    assert Gateway.asked == [("/ai/prompts/summarize", "Bearer sk-of-digest", {"variables": {"text": "A long text"}})]
    assert digest.summarise("too much") == (402, {"error": {"code": "budget_exceeded"}})
