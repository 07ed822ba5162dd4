"""A gateway in front of a provider that does as it is told, and a tenant that calls it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from app.counters import Counters, MemoryCounters
from app.gateway import Gateway
from app.guards import Guards
from app.keys import parse_keys
from app.main import make_app
from app.moderation import Moderator
from app.settings import Models, Settings, Tenants
from app.upstream import Upstream
from tests.upstream import WORDS, Provider, serve

KEY, ADMIN, PROVIDER_KEY = "sk-" + "t" * 43, "admin-" + "a" * 20, "provider-key-" + "p" * 20
PRICE = {"input": 1.0, "output": 2.0}  # a thousand, and two thousand, billionths of a dollar for a token
NOW = 1_800_000_000.0


@pytest.fixture(scope="session")
def shared_provider() -> Iterator[Provider]:
    with serve() as provider:
        yield provider


@pytest.fixture
def provider(shared_provider: Provider) -> Provider:
    shared_provider.requests.clear()
    shared_provider.keys.clear()
    shared_provider.hung_up = False
    shared_provider.answer = "An anchor holds."
    shared_provider.pieces = WORDS
    return shared_provider


def models(provider: Provider, **more: dict[str, Any]) -> dict[str, Any]:
    """Return models.toml: a model for each thing that a provider may do, and `more`."""
    names = ("good", "busy", "broken", "flaky", "slow", "cut", "long", "stall", "silent", "picky", "locked", "caller")
    found: dict[str, Any] = {name: {"providers": [asked(provider, name)], "retries": 0} for name in names}
    found["slow"]["timeout"] = found["stall"]["timeout"] = 0.5
    found["flaky"]["retries"] = 2
    found["safe"] = {"providers": [asked(provider, "broken")], "retries": 0, "fallbacks": ["good"]}
    found["vectors"] = {"providers": [asked(provider, "vectors")], "mode": "embedding"}
    return {"models": {**found, **more}}


def asked(provider: Provider, model: str, **more: Any) -> dict[str, Any]:
    return {"model": f"openai/{model}", "base-url": provider.url, "key": "PROVIDER_KEY", "price": PRICE, **more}


class Maker:
    """Makes gateways for a test."""

    def __init__(self, provider: Provider, stack: ExitStack) -> None:
        self.provider = provider
        self.now = NOW
        self._stack = stack

    def __call__(
        self,
        limits: dict[str, Any] | None = None,
        *,
        counters: Counters | None = None,
        guards: dict[str, Any] | None = None,
        prompts: dict[str, Any] | None = None,
        more: dict[str, Any] | None = None,
    ) -> TestClient:
        """Return a client of a gateway whose one tenant has limits, with its key."""
        described = Models.model_validate(models(self.provider, **(more or {}))).models
        tenant = {"models": list(described), **(limits or {})}
        tenants = Tenants.model_validate({"tenants": {"shop": tenant}, "counters": "VALKEY_URL"}).tenants
        settings = Settings(described, tenants, "memory", Guards.model_validate(guards or {}), prompts or {})
        keys = parse_keys(f"shop/web sha256:{hashlib.sha256(KEY.encode()).hexdigest()}")
        upstream = Upstream(settings, lambda _: PROVIDER_KEY)
        counting = counters or MemoryCounters(lambda: self.now)
        moderation = settings.guards.moderation
        moderator = Moderator(moderation, PROVIDER_KEY) if moderation else None
        app = make_app(Gateway(settings, keys, counting, upstream, moderator, lambda: self.now), ADMIN)
        client = self._stack.enter_context(TestClient(app, raise_server_exceptions=False))
        client.headers["Authorization"] = f"Bearer {KEY}"
        return client


@pytest.fixture
def make(provider: Provider) -> Iterator[Maker]:
    with ExitStack() as stack:
        yield Maker(provider, stack)


@pytest.fixture
def ask() -> Callable[..., Any]:
    """Ask a client's gateway to chat."""

    def ask(client: TestClient, model: str = "good", text: str = "Hello", **more: Any) -> Any:
        messages = [{"role": "user", "content": text}]
        return client.post("/v1/chat/completions", json={"model": model, "messages": messages, **more})

    return ask


def usage(client: TestClient, name: str = "usage.json", **query: str) -> Any:
    """Return what a gateway counted."""
    query = {"from": "2027-01-15", "to": "2027-01-15", **query}
    return client.get(f"/{name}", params=query, headers={"Authorization": f"Bearer {ADMIN}"})


@contextmanager
def serving(client: TestClient) -> Iterator[int]:
    """Serve a client's gateway on a port, which a connection may leave."""
    server = uvicorn.Server(uvicorn.Config(client.app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def wait_for(condition: Callable[[], Any]) -> None:
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)
