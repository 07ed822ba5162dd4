"""A call from beginning to end: who calls, what may go out, what it may cost; then the answer, and the count."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from app.counters import Charge, Counters, CountersDown, Entry, Usage
from app.errors import ApiError
from app.guards import Refused, guard
from app.keys import Caller, Key, find_caller
from app.limits import NANO, Most, charges, corrections, refusal
from app.requests import Generation, Request, size
from app.settings import Settings, Tenant
from app.upstream import Upstream, refuse_cut, reported_usage

log = logging.getLogger("ai")


@dataclass
class Call:
    """A call that has been admitted, and what is reserved for it."""

    caller: Caller
    kind: str
    model: str
    prompt: str
    request: dict[str, Any]
    masked: list[str]
    reserved: list[Charge]
    keep_content: bool
    began: float
    headers: dict[str, str] = field(default_factory=dict)


class Gateway:
    """What all requests share."""

    def __init__(
        self,
        settings: Settings,
        keys: list[Key],
        counters: Counters,
        upstream: Upstream,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.counters = counters
        self._keys = keys
        self._upstream = upstream
        self._clock = clock
        self._settling: set[asyncio.Task[None]] = set()

    def caller(self, header: str | None) -> Caller:
        """Return who calls.

        Raises:
            ApiError: 401, the key is missing or not known, or its tenant is gone.
        """
        caller = find_caller(self._keys, header)
        if caller is None or caller.tenant not in self.settings.tenants:
            raise ApiError(
                401, "invalid_api_key", "send a key of a tenant: Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        return caller

    def models(self, caller: Caller) -> list[str]:
        """Return the names that a caller may use."""
        return sorted(self.settings.tenants[caller.tenant].models)

    async def admit(self, caller: Caller, sent: Request, prompt: str = "-") -> Call:
        """Reserve what a call may take at most.

        Raises:
            ApiError: the caller may not make it.
        """
        tenant = self.settings.tenants[caller.tenant]
        self._check_model(caller, tenant, sent)
        try:
            request, masked = guard(
                self.settings.guards, sent.model_dump(exclude_none=True, exclude_unset=True, exclude={"model"})
            )
        except Refused as error:
            log.warning("refused by a guard", extra={"tenant": caller.tenant, "caller": caller.service})
            raise ApiError(400, "refused_by_guard", str(error)) from None
        output = self._limit_output(sent, request)
        tokens = size(request)
        most = Most(tokens + output, self._upstream.most_cost(sent.model, tokens, output))
        now = self._clock()
        reserved = charges(caller.tenant, tenant, most, now)
        try:
            full = await self.counters.reserve(reserved)
        except CountersDown as error:
            raise counters_down(error) from error
        if full:
            raise refusal(full, now)
        return Call(caller, sent.kind, sent.model, prompt, request, masked, reserved, tenant.log_content, now)

    def _check_model(self, caller: Caller, tenant: Tenant, sent: Request) -> None:
        if sent.model not in tenant.models:
            raise ApiError(
                403, "model_not_allowed",
                f"tenant {caller.tenant} may not use the model {sent.model[:80]!r}; it may use: "
                + (", ".join(self.models(caller)) or "none"),
            )  # fmt: skip
        mode = self.settings.models[sent.model].mode
        if (mode == "embedding") != (sent.kind == "embedding"):
            raise ApiError(400, "wrong_endpoint", f"the model {sent.model!r} is for {mode}")

    def _limit_output(self, sent: Request, request: dict[str, Any]) -> int:
        """Set how much may be answered, and return how much that is in all."""
        if not isinstance(sent, Generation):
            return 0
        model = self.settings.models[sent.model]
        asked = request.pop("max_completion_tokens", None) or sent.max_tokens
        if asked and asked > model.max_output:
            raise ApiError(
                400, "max_tokens_too_large", f"the model {sent.model!r} gives up to {model.max_output} tokens"
            )
        request["max_tokens"] = asked or model.max_output
        return int(request["max_tokens"]) * sent.n

    async def answer(self, call: Call) -> Any:
        """Return a provider's answer, counted."""
        try:
            answer = await self._upstream.send(call.kind, call.model, call.request)
        except BaseException as error:
            await self._fail(call, error)
            raise
        usage = getattr(answer, "usage", None)
        estimated = not usage or not usage.prompt_tokens
        if estimated:
            usage = self._upstream.estimate(call.request, _text(answer))
        cost = await self._count(call, answer, usage, _text(answer), estimated=estimated)
        answer.model = call.model
        call.headers = {"X-AI-Model": call.model, "X-AI-Cost": f"{cost / NANO:.9f}"}
        return answer

    async def stream(self, call: Call) -> AsyncIterator[str]:
        """Return the events of a provider's stream, once there is one."""
        call.headers = {"X-AI-Model": call.model}
        with_usage = bool((call.request.get("stream_options") or {}).get("include_usage"))
        request = {**call.request, "stream_options": {"include_usage": True}}
        try:
            stream = await self._upstream.send(call.kind, call.model, request)
        except BaseException as error:
            await self._fail(call, error)
            raise
        return self._events(call, stream, with_usage)

    async def _events(self, call: Call, stream: Any, with_usage: bool) -> AsyncIterator[str]:
        """Yield events; count the stream when it ends, is cut, or nobody listens any more."""
        said, failed = [], "nobody listened to the end"
        try:
            async with aclosing(stream):
                async for chunk in stream:
                    refuse_cut(chunk, stream)
                    said.append(_text(chunk))
                    if event := _event(call, chunk, with_usage):
                        yield event
            failed = ""
            yield "data: [DONE]\n\n"
        except Exception as error:
            failed = type(error).__name__
            yield f"data: {json.dumps(self._upstream.explain(error).body())}\n\n"
        finally:
            text, usage = "".join(said), reported_usage(stream)
            found = usage or self._upstream.estimate(call.request, text)
            await self._finish(self._count(call, stream, found, text, estimated=usage is None, failed=failed))

    async def _fail(self, call: Call, error: BaseException) -> None:
        """Give back what was reserved; all but the input where the provider may have worked on it."""
        code = error.code if isinstance(error, ApiError) else type(error).__name__
        usage = None
        if code in ("provider_timeout", "CancelledError"):
            usage = self._upstream.estimate(call.request, "")
        await self._finish(self._count(call, None, usage, "", estimated=True, failed=code))

    async def _finish(self, counting: Any) -> None:
        """Count, even where the one who waits for it has gone."""
        task = asyncio.ensure_future(counting)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        await asyncio.shield(task)

    async def _count(
        self, call: Call, answer: Any, usage: Any, text: str, *, estimated: bool = False, failed: str = ""
    ) -> int:
        """Put what a call has taken in the place of what was reserved, log it, and return its cost."""
        taken, given = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else (0, 0)
        cost = self._upstream.cost(call.model, answer, usage) if usage else 0
        now = self._clock()
        day = time.strftime("%Y-%m-%d", time.gmtime(now))
        entry = Entry(day, call.caller.tenant, call.caller.service, call.model, call.prompt)
        provider = self._upstream.provider_of(answer)
        line = {
            "tenant": call.caller.tenant, "caller": call.caller.service, "model": call.model, "prompt": call.prompt,
            "provider": provider.model if provider else "-", "input": taken, "output": given, "cost": cost / NANO,
            "estimated": estimated, "masked": call.masked, "failure": failed, "seconds": round(now - call.began, 3),
        }  # fmt: skip
        if call.keep_content:
            line["request"] = {key: call.request[key] for key in ("messages", "prompt", "input") if key in call.request}
            line["answer"] = text
        log.log(logging.WARNING if failed else logging.INFO, "failed" if failed else "answered", extra=line)
        try:
            used = corrections(call.reserved, Most(taken + given, cost))
            await self.counters.settle(used, entry, Usage(1, int(bool(failed)), taken, given, cost))
        except CountersDown as error:
            log.error("not counted: what was reserved stays", extra={**line, "reason": str(error)})
        return cost


def counters_down(error: CountersDown) -> ApiError:
    """Return the answer while nothing can be counted: nothing may be spent."""
    return ApiError(503, "counters_down", f"the limits cannot be checked now ({error})", {"Retry-After": "5"})


def _event(call: Call, chunk: Any, with_usage: bool) -> str:
    """Return a chunk as an event, in OpenAI's form: usage comes alone, and only for those who asked for it."""
    if usage := getattr(chunk, "usage", None):
        if not with_usage:
            return ""
        chunk.choices, chunk.usage = [], usage
    chunk.model = call.model
    return f"data: {chunk.model_dump_json(exclude_none=True)}\n\n"


def _text(answer: Any) -> str:
    """Return what an answer, or a chunk of a stream, says."""
    said = []
    for choice in getattr(answer, "choices", None) or ():
        part = getattr(choice, "delta", None) or getattr(choice, "message", None) or choice
        said.append(getattr(part, "content", None) or getattr(part, "text", None) or "")
        said += [each.function.arguments or "" for each in getattr(part, "tool_calls", None) or ()]
    return "".join(said)
