"""The gateway's API: OpenAI's for models, a route for each prompt, and the usage."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi import Request as HttpRequest
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse

from app import VERSION, requests, usage
from app.counters import Counters, CountersDown, MemoryCounters, ValkeyCounters
from app.errors import ApiError
from app.files import ConfigError
from app.gateway import Gateway, as_json, counters_down
from app.keys import is_key, parse_keys
from app.moderation import Moderator
from app.settings import ADMIN_KEY, IN_MEMORY, TENANT_KEYS, TENANTS, Settings, load, needed_secrets
from app.upstream import Upstream, check_models
from common import secrets

ROUTE = os.environ.get("ROUTE", "").rstrip("/")
log = logging.getLogger("ai")


def build(settings: Settings | None = None, read_secret: Callable[[str], str] = secrets.read) -> FastAPI:
    """Return the API of what ai/ says.

    Raises:
        ConfigError: ai/ is wrong, or a secret that it names is missing.
    """
    settings = settings or load()
    check_models(settings)
    found: dict[str, str] = {}
    for name, file, key in needed_secrets(settings):
        try:
            found[name] = read_secret(name).strip()
        except LookupError as error:
            raise ConfigError(file, key, f"the secret {name} is missing", _remedy(name)) from error
        if not found[name]:
            raise ConfigError(file, key, f"the secret {name} is empty", _remedy(name))
    try:
        keys = parse_keys(found.get(TENANT_KEYS, ""))
    except ValueError as error:
        raise ConfigError(TENANTS, "tenants", f"the secret {TENANT_KEYS}: {error}", "Make it: app/keys.py.") from error
    if unknown := sorted({key.caller.tenant for key in keys} - set(settings.tenants)):
        remedy = f"Write [tenants.{unknown[0]}], or take its lines out of the secret."
        raise ConfigError(TENANTS, "tenants", f"{TENANT_KEYS} has keys of: {', '.join(unknown)}", remedy)
    if not settings.tenants:
        log.warning("ai/tenants.toml names no tenant, so every call is refused with 401")
    if settings.counters == IN_MEMORY:
        log.warning("limits and usage are counted in memory: for one replica, and only until it ends")
    counters: Counters = (
        MemoryCounters() if settings.counters == IN_MEMORY else ValkeyCounters.at(found[settings.counters])
    )
    try:
        admin = read_secret(ADMIN_KEY).strip()
    except LookupError:
        admin = ""  # nobody sees the usage
    moderation = settings.guards.moderation
    moderator = Moderator(moderation, found.get(moderation.key or "", "")) if moderation else None
    return make_app(Gateway(settings, keys, counters, Upstream(settings, found.__getitem__), moderator), admin)


def _remedy(name: str) -> str:
    if name.endswith("_URL"):
        return f"Name the service {name.removesuffix('_URL').lower()!r} in `needs` of service.toml."
    return f"Name it in `secrets` of service.toml, and set it: pulumi config set --secret --stack STACK ai:{name}"


class Events(StreamingResponse):
    """A stream that is closed, and so counted, as soon as the caller has gone."""

    async def __call__(self, *connection: Any) -> None:
        """Send it."""
        try:
            await super().__call__(*connection)
        finally:
            await self.body_iterator.aclose()  # type: ignore[union-attr]


def make_app(gateway: Gateway, admin: str) -> FastAPI:  # noqa: PLR0915  a table of contents: one function a route
    """Return the API of a gateway."""
    app = FastAPI(title="AI gateway", version=VERSION, docs_url=f"{ROUTE}/docs", openapi_url=f"{ROUTE}/openapi.json")
    api = APIRouter()

    async def read_body(request: HttpRequest) -> bytes:
        """Return a request's body, or refuse it as soon as it is larger than it may be."""
        most = gateway.settings.guards.max_input
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise ApiError(413, "input_too_large", f"a request may have {most} bytes (max-input in guards.toml)")
        return bytes(body)

    async def generate(request: HttpRequest, shape: type[requests.Request]) -> Response:
        caller = gateway.caller(request.headers.get("authorization"))
        sent = requests.parse(shape, await read_body(request))
        call = await gateway.admit(caller, sent)
        if getattr(sent, "stream", False):
            events = await gateway.stream(call)
            headers = {**call.headers, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            return Events(events, media_type="text/event-stream", headers=headers)
        answer = await gateway.answer(call)
        return Response(as_json(answer), media_type="application/json", headers=call.headers)

    @api.post("/v1/chat/completions")
    async def chat(request: HttpRequest) -> Response:
        """Answer a conversation."""
        return await generate(request, requests.Chat)

    @api.post("/v1/completions")
    async def complete(request: HttpRequest) -> Response:
        """Go on with a text."""
        return await generate(request, requests.Completion)

    @api.post("/v1/embeddings")
    async def embed(request: HttpRequest) -> Response:
        """Return texts as vectors."""
        return await generate(request, requests.Embedding)

    @api.get("/v1/models")
    async def models(request: HttpRequest) -> dict[str, Any]:
        """Return the models that the caller may use."""
        names = gateway.models(gateway.caller(request.headers.get("authorization")))
        return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "gateway"} for name in names]}

    @api.post("/prompts/{name}")
    async def ask(name: str, request: HttpRequest) -> Response:
        """Answer one of the prompts in ai/prompts."""
        caller = gateway.caller(request.headers.get("authorization"))
        prompt = gateway.settings.prompts.get(name)
        if prompt is None:
            raise ApiError(404, "no_such_prompt", "there is no such prompt")
        sent = requests.parse(requests.PromptCall, await read_body(request))
        try:
            messages = prompt.messages(sent.variables)
        except ValueError as error:
            raise ApiError(400, "invalid_request", str(error)) from error
        call = await gateway.admit(caller, requests.of_prompt(prompt, messages), f"{name}@{prompt.version}")
        answer = await gateway.answer(call)
        headers = {**call.headers, "X-AI-Prompt": name, "X-AI-Prompt-Version": prompt.version}
        try:
            output = prompt.read_answer(answer["choices"][0]["message"].get("content") or "")
        except ValueError as error:
            raise ApiError(502, "answer_does_not_fit", str(error), headers) from error
        found = {"prompt": name, "version": prompt.version, "output": output}
        return Response(as_json(found), media_type="application/json", headers=headers)

    async def usage_rows(request: HttpRequest) -> list[dict[str, Any]]:
        if not is_key(admin, request.headers.get("authorization")):
            raise ApiError(401, "invalid_api_key", f"send the secret {ADMIN_KEY}: Authorization: Bearer KEY")
        wanted = usage.days(request.query_params.get("from"), request.query_params.get("to"))
        try:
            return await usage.rows(gateway.counters, wanted)
        except CountersDown as error:
            raise counters_down(error) from error

    @api.get("/usage.json")
    async def usage_json(request: HttpRequest) -> list[dict[str, Any]]:
        """Return what was used between the days `from` and `to`."""
        return await usage_rows(request)

    @api.get("/usage.csv", response_class=PlainTextResponse)
    async def usage_csv(request: HttpRequest) -> Response:
        """Return the same as CSV."""
        return PlainTextResponse(usage.as_csv(await usage_rows(request)), media_type="text/csv; charset=utf-8")

    @api.get("/usage", response_class=HTMLResponse)
    async def usage_page() -> Response:
        """Return the page that shows it; it asks for the key and has no figures itself."""
        return HTMLResponse(usage.PAGE, headers=usage.PAGE_HEADERS)

    @api.get("/health")
    async def health() -> dict[str, str]:
        """Say that requests are answered."""
        return {"status": "ok"}

    async def index() -> dict[str, str]:
        """Say where to go from here."""
        return {name: f"{ROUTE}/{name}" for name in ("v1/models", "usage", "docs", "health")}

    @app.exception_handler(ApiError)
    async def show_error(_request: HttpRequest, error: ApiError) -> Response:
        return JSONResponse(error.body(), status_code=error.status, headers=error.headers)

    # Below the route for the gateway in front, which passes paths on unchanged; at the root for the health check.
    app.include_router(api, prefix=ROUTE)
    app.add_api_route(ROUTE or "/", index, include_in_schema=False)
    if ROUTE:
        app.add_api_route("/health", health, include_in_schema=False)
    return app
