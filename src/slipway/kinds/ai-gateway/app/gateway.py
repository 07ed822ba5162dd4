"""A call from beginning to end: who calls, what may go out, what it may cost; then the answer, and the count."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from app.counters import Charge, Counters, CountersDown, Entry, Usage
from app.errors import ApiError
from app.guards import Refused, guard, texts_of
from app.keys import Caller, Key, find_caller
from app.limits import NANO, Most, charges, corrections, refusal
from app.moderation import Moderator
from app.requests import Generation, Request, size
from app.settings import Settings, Tenant
from app.streams import StreamGuard, guard_answer
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
        moderator: Moderator | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.counters = counters
        self._keys = keys
        self._upstream = upstream
        self._moderator = moderator
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
                self.settings.guards.rules, sent.model_dump(exclude_none=True, exclude_unset=True, exclude={"model"})
            )
        except Refused as error:
            log.warning("refused by a guard", extra={"tenant": caller.tenant, "caller": caller.service})
            raise ApiError(400, "refused_by_guard", f"{error}: remove it from the request") from None
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
        call = Call(caller, sent.kind, sent.model, prompt, request, masked, reserved, tenant.log_content, now)
        if self._moderator:
            try:
                await self._moderator.check("the request", _texts(request))
            except BaseException as error:
                await self._fail(call, error)
                raise
        return call

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
        if self.settings.guards.answer_rules and getattr(sent, "logprobs", None):
            message = "logprobs: they spell what a guard of answers would mask, so they are not passed on"
            raise ApiError(400, "invalid_request", message)

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

    async def answer(self, call: Call) -> dict[str, Any]:
        """Return a provider's answer, counted and guarded.

        Raises:
            ApiError: no provider has answered, or what has been answered may not go out.
        """
        try:
            answer = await self._upstream.send(call.kind, call.model, call.request)
        except BaseException as error:
            await self._fail(call, error)
            raise
        usage, said = getattr(answer, "usage", None), _text(answer)
        estimated = not usage or not usage.prompt_tokens
        if estimated:
            usage = self._upstream.estimate(call.request, said)
        found, refused, shown = answer.model_dump(exclude_none=True), None, ""
        try:
            if call.kind != "embedding":
                await self._guard_answer(call, found)
                shown = _text_of(found)
        except BaseException as error:
            refused = error
        failed = _code(refused) if refused else ""
        cost = await self._count(call, answer, usage, shown, estimated=estimated, failed=failed)
        call.headers = {"X-AI-Model": call.model, "X-AI-Cost": f"{cost / NANO:.9f}"}
        if isinstance(refused, ApiError):
            refused.headers.update(call.headers)
        if refused:
            raise refused
        return {**found, "model": call.model}

    async def _guard_answer(self, call: Call, answer: dict[str, Any]) -> None:
        """Mask what must not go out, in place.

        Raises:
            ApiError: it may not go out at all.
        """
        try:
            choices, masked = guard_answer(self.settings.guards.answer_rules, answer["choices"])
        except Refused as error:
            raise _refused(error) from None
        answer["choices"] = choices
        call.masked = sorted({*call.masked, *masked})
        await self._moderate_answer(choices)

    async def _moderate_answer(self, choices: Any) -> None:
        if self._moderator and self._moderator.settings.answers:
            await self._moderator.check("the answer", texts_of(choices))

    async def stream(self, call: Call) -> AsyncIterator[bytes]:
        """Return a provider's answer as events, once it has begun.

        Raises:
            ApiError: no provider has answered.
        """
        call.headers = {"X-AI-Model": call.model}
        options = call.request.get("stream_options") or {}
        with_usage = bool(options.get("include_usage"))
        request = {**call.request, "stream_options": {"include_usage": True}}
        try:
            stream = await self._upstream.send(call.kind, call.model, request)
        except BaseException as error:
            await self._fail(call, error)
            raise
        return self._events(call, stream, with_usage)

    async def _events(self, call: Call, stream: Any, with_usage: bool) -> AsyncIterator[bytes]:
        """Yield events; count the stream when it ends, is cut, or nobody listens any more."""
        guards = StreamGuard(self.settings.guards.answer_rules)
        held: list[dict[str, Any]] | None = None
        if self._moderator and self._moderator.settings.answers:
            held = []  # nothing goes out before all has been looked at
        said: list[str] = []
        shown, failed = [], "nobody listened to the end"
        try:
            async with aclosing(stream):
                async for each in _pieces(call, stream, guards, said, with_usage):
                    shown.append(_text_of(each))
                    if held is None:
                        yield _event(each)
                    else:
                        held.append(each)
            if held is not None:
                await self._moderator.check("the answer", ["".join(shown)])  # type: ignore[union-attr]
                for each in held:
                    yield _event(each)
            failed = ""
            yield b"data: [DONE]\n\n"
        except Exception as error:
            told = _refused(error) if isinstance(error, Refused) else error
            failed = _code(told)
            body = told.body() if isinstance(told, ApiError) else self._upstream.explain(error).body()
            yield _event(body)
        finally:
            call.masked = sorted({*call.masked, *guards.masked})
            usage = reported_usage(stream)
            found = usage or self._upstream.estimate(call.request, "".join(said))
            text = "" if failed in NOT_SHOWN else "".join(shown)
            await self._finish(self._count(call, stream, found, text, estimated=usage is None, failed=failed))

    async def _fail(self, call: Call, error: BaseException) -> None:
        """Give back what was reserved; all but the input where the provider may have worked on it."""
        code, usage = _code(error), None
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


NOT_SHOWN = ("flagged_by_moderation", "moderation_down")
"""How a call fails whose answer is in no log either."""


def _code(error: BaseException) -> str:
    return error.code if isinstance(error, ApiError) else type(error).__name__


def _refused(error: Refused) -> ApiError:
    """Return what a caller gets in the place of an answer that must not go out."""
    return ApiError(502, "answer_refused_by_guard", f"the model's answer may not go out: {error}")


async def _pieces(
    call: Call, stream: Any, guards: StreamGuard, said: list[str], with_usage: bool
) -> AsyncIterator[dict[str, Any]]:
    """Yield what of a stream may go out, and note what was said.

    Raises:
        StreamCut: the provider has not ended the answer.
        Refused: it has what must not go out.
    """
    async for chunk in stream:
        refuse_cut(chunk, stream)
        said.append(_text(chunk))
        for each in guards.pass_on(_chunk(call, chunk, with_usage)):
            if each["choices"] or "usage" in each:
                yield each
    for each in guards.end():
        yield each


def _chunk(call: Call, chunk: Any, with_usage: bool) -> dict[str, Any]:
    """Return a chunk in OpenAI's form: usage comes alone, and only for those who asked for it."""
    usage = getattr(chunk, "usage", None)
    found: dict[str, Any] = {**chunk.model_dump(exclude_none=True), "model": call.model}
    found.pop("usage", None)
    if usage:
        found["choices"] = []
        if with_usage:
            found["usage"] = usage.model_dump(exclude_none=True)
    if call.kind == "completion":
        found["object"] = "text_completion"
        found["choices"] = [_as_text(choice) for choice in found["choices"]]
    return found


def _as_text(choice: dict[str, Any]) -> dict[str, Any]:
    """Return a piece of a chat as one of a completion."""
    said = {"index": choice.get("index", 0), "text": choice.get("delta", {}).get("content") or ""}
    return {**said, "finish_reason": choice.get("finish_reason")}


def as_json(value: Any) -> bytes:
    """Return a value as JSON; half a character, which a model's pieces may have, becomes a question mark."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + as_json(chunk) + b"\n\n"


def _texts(request: dict[str, Any]) -> Iterator[str]:
    """Yield the texts of a request that a provider would read."""
    for key in ("messages", "prompt", "input", "tools", "response_format", "stop"):
        yield from texts_of(request.get(key))


def _text_of(answer: dict[str, Any]) -> str:
    """Return what an answer, or a chunk of a stream, shows."""
    said = []
    for choice in answer.get("choices") or ():
        part = choice.get("delta") or choice.get("message") or choice
        said += [part.get("content") or part.get("text") or ""]
        said += [call.get("function", {}).get("arguments") or "" for call in part.get("tool_calls") or ()]
    return "".join(said)


def _text(answer: Any) -> str:
    """Return what an answer, or a chunk of a stream, says."""
    said = []
    for choice in getattr(answer, "choices", None) or ():
        part = getattr(choice, "delta", None) or getattr(choice, "message", None) or choice
        said.append(getattr(part, "content", None) or getattr(part, "text", None) or "")
        said += [each.function.arguments or "" for each in getattr(part, "tool_calls", None) or ()]
    return "".join(said)
