"""A gateway for language models in a workspace: two replicas, counts in Valkey, a provider that is a service, too.

What the provider does is told by the name of the model: it is the one that the kind's own tests have.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.e2e.browser import browser
from tests.e2e.conftest import NAME
from tests.e2e.workspace import Workspace, wait_until

from slipway._internal.commands import junit
from slipway._internal.run import engine
from slipway._internal.scaffold.service_creation import KINDS_FOLDER

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]
KIND = "ai-gateway"
PROVIDER_KEY = "provider-key-0123456789"
PROVIDER = {
    "service.toml": 'kind = "provider"\nport = 8080\n\n[resources]\nmemory = "128m"\ncpus = 0.5\n',
    "serve.py": 'import upstream\n\nupstream.Provider("0.0.0.0", 8080).serve_forever()\n',
    "Dockerfile": """ARG PYTHON_RUN
FROM ${PYTHON_RUN} AS run
COPY --chmod=0644 serve.py upstream.py ./
USER 65532:65532
HEALTHCHECK --interval=5s CMD ["python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 8080), 2)"]
ENTRYPOINT ["python3", "serve.py"]
""",
}
MODELS = """
[models.good]
providers = [
  { model = "openai/good", key = "LLAMA_KEY", base-url = "http://llama:8080/v1", price = { input = 1, output = 2 } },
]
[models.broken]
providers = [
  { model = "openai/broken", key = "LLAMA_KEY", base-url = "http://llama:8080/v1", price = { input = 1, output = 2 } },
]
retries = 0
fallbacks = ["good"]
"""
TENANTS = """
counters = "VALKEY_URL"
[tenants.shop]
models = ["good", "broken"]
budget-per-day = 0.001
[tenants.other]
models = ["good"]
requests-per-minute = 1000
[tenants.reader]
models = ["good", "broken"]
"""
KEYS = {name: f"sk-{name}-{'x' * 40}" for name in ("shop", "other", "reader")}


@pytest.fixture(scope="module")
def answering(first: object, baked: Workspace) -> Iterator[Workspace]:
    """The workspace with a gateway that serves; all of it is gone afterwards, the counts too."""
    baked.restore()
    try:
        add_gateway(baked)
        baked.up("--yes")
        yield baked
    finally:
        baked.piped("down", "--volumes", "--yes", stdin=f"{NAME}-dev\n")
        baked.restore()
        baked.up("--yes")  # what the other tests expect


def add_gateway(workspace: Workspace) -> None:
    """Add the gateway, its counts and its provider, with keys of two tenants."""
    for kind, name in (("valkey", "valkey"), (KIND, "ai")):
        made = workspace.invoke("new", name, "--kind", kind)
        assert made.code == 0, made.output
    folder = workspace.root / "services" / "llama"
    folder.mkdir()
    for name, text in PROVIDER.items():
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy(KINDS_FOLDER / KIND / "tests" / "upstream.py", folder)
    files = workspace.root / "services" / "ai" / "ai"
    (files / "models.toml").write_text(MODELS, encoding="utf-8")
    (files / "tenants.toml").write_text(TENANTS, encoding="utf-8")
    workspace.edit("services/ai/ai/prompts/summary.md", 'model = "local"', 'model = "good"')
    workspace.edit("services/ai/service.toml", 'needs = ["valkey"]', 'needs = ["valkey", "llama"]')
    workspace.edit("services/ai/service.toml", '# secrets = ["OPENAI_API_KEY"', 'secrets = ["LLAMA_KEY"')
    workspace.edit("services/ai/service.toml", "[args]\n", "[scale]\nmin = 2\n\n[args]\n")
    lines = [f"{name}/web sha256:{hashlib.sha256(key.encode()).hexdigest()}" for name, key in KEYS.items()]
    for name, value in (("TENANT_KEYS", "\n".join(lines)), ("LLAMA_KEY", PROVIDER_KEY)):
        ran = workspace.pulumi("config", "set", "--secret", "--stack", "dev", f"ai:{name}", stdin=value)
        assert ran.code == 0, ran.output


def call(workspace: Workspace, path: str, sent: Any = None, key: str = KEYS["other"]) -> tuple[int, Any, str]:
    """Return the status, the headers and the text of what the gateway answers, through the stack's own."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{workspace.port}/ai{path}",
        data=None if sent is None else json.dumps(sent).encode(),
        headers={"Authorization": f"Bearer {key}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.headers, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def chat(model: str = "good", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], **more}


def admin_key(workspace: Workspace) -> str:
    """Return the key that shows the usage."""
    ran = workspace.pulumi("config", "get", "--stack", "dev", "ai:ADMIN_KEY")
    assert ran.code == 0, ran.output
    return ran.stdout.strip()


def usage(workspace: Workspace, tenant: str) -> dict[str, dict[str, Any]]:
    """Return what a tenant has used today, by model and prompt."""
    status, _, text = call(workspace, "/usage.json", key=admin_key(workspace))
    assert status == 200, text
    return {f"{row['model']} {row['prompt'][:7]}": row for row in json.loads(text) if row["tenant"] == tenant}


def test_its_own_tests_pass_with_this_workspaces_files(answering: Workspace) -> None:
    tested = answering.invoke("test", "ai")
    assert tested.code == 0, tested.output
    (report,) = (answering.root / ".slipway" / "gate" / "ai").glob("*/junit.xml")
    assert len(junit.parse(report.read_text(encoding="utf-8")).passed) > 150


def test_calls_streams_and_prompts_are_answered_through_the_gateway_in_front(answering: Workspace) -> None:
    status, headers, text = call(answering, "/v1/chat/completions", chat())
    assert (status, headers["X-AI-Model"], json.loads(text)["model"]) == (200, "good", "good"), text
    status, headers, text = call(answering, "/v1/chat/completions", chat("broken", stream=True), KEYS["reader"])
    assert status == 200 and headers["Content-Type"].startswith("text/event-stream"), text
    assert text.endswith("data: [DONE]\n\n")
    status, headers, text = call(answering, "/v1/completions", {"model": "good", "prompt": "Hello", "stream": True})
    assert status == 200 and headers["Content-Type"].startswith("text/event-stream"), text
    assert text.endswith("data: [DONE]\n\n") and '"text":"An "' in text
    variables = {"text": "The anchor holds the ship.", "sentences": "1"}
    status, headers, text = call(answering, "/prompts/summary", {"variables": variables})
    assert (status, json.loads(text)["output"]) == (200, "An anchor holds."), text
    assert headers["X-AI-Prompt-Version"].startswith("1-")
    assert call(answering, "/v1/chat/completions", chat("broken"))[0] == 403
    assert call(answering, "/v1/chat/completions", chat(), key="sk-none")[0] == 401
    rows = usage(answering, "other")
    assert rows["good summary"]["calls"] == 1
    shown = answering.invoke("ai", "usage", "--by", "tenant,model", "--json")
    assert shown.code == 0, shown.output
    (total,) = [row for row in json.loads(shown.stdout) if (row["tenant"], row["model"]) == ("other", "good")]
    assert total["calls"] == sum(row["calls"] for name, row in rows.items() if name.startswith("good "))
    log = answering.invoke("logs", "ai").output
    assert "answered" in log and "summary@1-" in log
    assert PROVIDER_KEY not in log and "anchor holds" not in log


def test_the_page_draws_what_was_used_for_the_administrator_alone(answering: Workspace) -> None:
    """It runs under its own content policy, and asks this gateway alone."""
    address = f"http://127.0.0.1:{answering.port}/ai/usage"
    assert call(answering, "/v1/chat/completions", chat())[0] == 200
    with browser() as page:
        page.call("Page.navigate", url=address)
        page.wait("document.readyState === 'complete' && document.getElementById('from').value")
        for key, shown in (("wrong", "send the secret ADMIN_KEY"), (admin_key(answering), "")):
            page.evaluate(f"document.getElementById('key').value = {json.dumps(key)}")
            page.evaluate("document.querySelector('form button').click()")
            page.wait("!document.getElementById('message').textContent.startsWith('Times are')")
            if shown:
                page.wait(f"document.getElementById('message').textContent.startsWith({json.dumps(shown)})")
                assert page.evaluate("document.getElementById('main').hidden")
        page.wait("!document.getElementById('main').hidden")
        assert page.evaluate("document.querySelectorAll('#tenant rect').length") >= 1
        assert "other" in page.evaluate("document.querySelector('#tenant').textContent")
        page.evaluate("document.getElementById('measure').value = 'calls'")
        page.evaluate("document.getElementById('measure').dispatchEvent(new Event('change'))")
        assert page.evaluate("document.querySelector('#days svg').getAttribute('aria-label')") == "calls by day"
        assert page.evaluate("document.querySelectorAll('tbody tr').length") >= 1
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert [line for line in page.said if "401" not in line] == []
        assert all(url.startswith((f"http://127.0.0.1:{answering.port}/", "data:")) for url in page.asked)


def test_two_replicas_share_a_budget_that_outlives_them_all(answering: Workspace) -> None:
    """A call costs 17 millionths of a dollar, and may cost 250: 45 or so fit into the budget."""

    def one(_: int) -> int:
        return call(answering, "/v1/chat/completions", chat(max_tokens=50), key=KEYS["shop"])[0]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(60)))
    found.append(one(0))
    while found[-1] != 402:  # some were refused only beside others
        found.append(one(0))
    assert set(found) == {200, 402}
    spent = usage(answering, "shop")["good -"]
    assert spent["calls"] == found.count(200)
    assert 0.0007 < spent["cost"] <= 0.001
    client = engine.client()
    for name, container in answering.containers().items():
        if name.startswith(("ai", "valkey")):
            client.containers.get(container.id).restart(timeout=10)
    wait_until(lambda: call(answering, "/v1/models")[0] == 200, "the gateway answers again")
    wait_until(lambda: one(0) == 402, "the budget is used up, still")
    assert usage(answering, "shop")["good -"] == spent


def test_a_changed_prompt_is_a_release_that_can_be_taken_back(answering: Workspace) -> None:
    def version() -> str:
        variables = {"text": "x", "sentences": "1"}
        return str(call(answering, "/prompts/summary", {"variables": variables})[1]["X-AI-Prompt-Version"])

    before = version()
    answering.edit("services/ai/ai/prompts/summary.md", "version = 1", "version = 2")
    answering.up("--yes")
    assert version().startswith("2-")
    back = answering.invoke("rollback", "--yes")
    assert back.code == 0, back.output
    assert version() == before


def test_the_image_has_no_more_than_it_needs(answering: Workspace) -> None:
    (container,) = [each for name, each in answering.containers().items() if name == "ai"][:1]
    image = engine.client().containers.get(container.id).image
    assert image.attrs["Size"] < 700 << 20
