"""The providers, through LiteLLM: which of them answers for a name, what it costs, and what their errors mean."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import ceil
from typing import Any

import litellm
from litellm import Router, token_counter
from litellm.types.router import RouterRateLimitError

from app import completions
from app.errors import ApiError
from app.files import ConfigError
from app.limits import NANO
from app.settings import MODELS, Provider, Settings

litellm.suppress_debug_info = True
litellm.telemetry = False
completions.install()
for name in ("LiteLLM", "LiteLLM Router"):
    logging.getLogger(name).setLevel(logging.CRITICAL)  # their lines may quote what a caller sent
for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
    logging.getLogger(name).filters.clear()  # LiteLLM's, which put a mark of its own on each line

NO_KEY = "none"
"""LiteLLM wants a key for a server that takes none."""
COMPLETION = "#completion"
"""What the names of the Router's second group of providers end with: the same, asked to go on with a text."""


def check_models(settings: Settings) -> None:
    """Refuse a provider that LiteLLM does not know, and a price that nobody knows.

    Raises:
        ConfigError: with the provider's key in models.toml.
    """
    for name, model in settings.models.items():
        for number, provider in enumerate(model.providers):
            key = f"models.{name}.providers.{number}"
            if provider.model.partition("/")[0] not in litellm.provider_list:
                raise ConfigError(
                    MODELS, f"{key}.model", f"LiteLLM knows no provider {provider.model.partition('/')[0]!r}",
                    'Write PROVIDER/MODEL as LiteLLM does; "openai/NAME" with a base-url for a server of your own.',
                )  # fmt: skip
            if provider.price is None and (provider.base_url or not _listed_prices(provider)):
                raise ConfigError(
                    MODELS, f"{key}.price", f"the price of {provider.model} is not known, so no budget could hold",
                    "Write price = { input = 0.25, output = 2.0 }, in dollars for a million tokens; 0 for your own.",
                )  # fmt: skip


class StreamCut(Exception):
    """A stream has ended in the middle of an answer."""


MEANINGS: tuple[tuple[tuple[type[Exception], ...], int, str, str], ...] = (
    ((StreamCut,), 502, "stream_cut", "the provider's answer ended in its middle"),
    ((RouterRateLimitError,), 503, "no_provider", "each provider has just failed; they rest"),
    ((litellm.Timeout,), 504, "provider_timeout", "no provider has answered in time"),
    ((litellm.RateLimitError,), 503, "provider_busy", "the provider takes no more requests now"),
    (
        (litellm.AuthenticationError, litellm.PermissionDeniedError),
        502,
        "provider_refused_key",
        "the provider does not take the gateway's key",
    ),
)
"""What a provider's error means: the status, code and message that a caller gets."""


class Upstream:
    """The providers of one gateway."""

    def __init__(self, settings: Settings, read_secret: Callable[[str], str]) -> None:
        self._settings = settings
        self._providers = {
            f"{name}#{number}": provider
            for name, model in settings.models.items()
            for number, provider in enumerate(model.providers)
        }
        self._secrets = {each.key: read_secret(each.key) for each in self._providers.values() if each.key}
        self._router = Router(
            model_list=[
                self._deployment(identity, provider, ending)
                for identity, provider in self._providers.items()
                for ending in self._endings(identity)
            ],
            fallbacks=[
                {name + ending: [other + ending for other in each.fallbacks]}
                for name, each in settings.models.items()
                for ending in self._endings(name)
                if each.fallbacks
            ],
            routing_strategy="simple-shuffle",  # by weight
            num_retries=0,  # each call says how many
            allowed_fails=3,  # in a minute; then the others are asked for five seconds, if there are any
            cooldown_time=5,
        )

    def _endings(self, identity: str) -> tuple[str, ...]:
        return ("",) if self._settings.models[identity.partition("#")[0]].mode == "embedding" else ("", COMPLETION)

    def _deployment(self, identity: str, provider: Provider, ending: str) -> dict[str, Any]:
        name = identity.partition("#")[0]
        return {
            "model_name": name + ending,
            "litellm_params": {
                "model": _completing(provider.model) if ending else provider.model,
                "api_key": self._secrets[provider.key] if provider.key else NO_KEY if provider.base_url else None,
                "api_base": provider.base_url,
                "weight": provider.weight,
                "timeout": self._settings.models[name].timeout,
                "stream_timeout": self._settings.models[name].timeout,
            },
            "model_info": {"id": identity + ending},
        }

    def most_cost(self, name: str, tokens: int, output: int) -> int:
        """Return what a call may cost at most, whoever answers for the name, in billionths of a dollar."""
        prices = [
            _most_price(provider)
            for each in self._settings.chain(name)
            for provider in self._settings.models[each].providers
        ]
        return max(_nanos(tokens * taken + output * given) for taken, given in prices)

    async def send(self, kind: str, name: str, request: dict[str, Any]) -> Any:
        """Ask a provider, others after it when it fails, and return LiteLLM's answer or stream.

        A stream is always a chat's, also where a text is to be gone on with: the Router's fallbacks are for those.

        Raises:
            ApiError: none of them has answered.
        """
        model, retries = name, self._settings.models[name].retries
        if kind == "completion" and request.get("stream"):
            kind, model = "chat", name + COMPLETION
            request = {key: value for key, value in request.items() if key != "prompt"} | {
                "messages": [{"role": "user", "content": request["prompt"]}]
            }
        ask = {
            "chat": self._router.acompletion,
            "completion": self._router.atext_completion,
            "embedding": self._router.aembedding,
        }[kind]
        try:
            return await ask(model=model, num_retries=retries, **request)
        except Exception as error:
            raise self.explain(error) from None

    def provider_of(self, answer: Any) -> Provider | None:
        """Return who has answered."""
        identity = (getattr(answer, "_hidden_params", None) or {}).get("model_id") or ""
        return self._providers.get(identity.removesuffix(COMPLETION))

    def cost(self, name: str, answer: Any, usage: Any) -> int:
        """Return what a call has cost, in billionths of a dollar; at most where it is not known who answered."""
        provider = self.provider_of(answer)
        if provider is None:
            return self.most_cost(name, usage.prompt_tokens, usage.completion_tokens)
        if provider.price:
            taken, given = _most_price(provider)
            return _nanos(usage.prompt_tokens * taken + usage.completion_tokens * given)
        return _nanos(sum(litellm.cost_per_token(model=provider.model, usage_object=usage)))

    def estimate(self, request: dict[str, Any], output: str) -> Any:
        """Return the tokens of a call whose provider did not say them."""
        given = token_counter(text=output) if output else 0
        if "messages" in request:
            taken = token_counter(messages=request["messages"])
        else:
            texts = request.get("prompt", request.get("input"))
            taken = token_counter(text=texts if isinstance(texts, str) else "\n".join(texts))
        return litellm.Usage(prompt_tokens=taken, completion_tokens=given, total_tokens=taken + given)

    def explain(self, error: Exception) -> ApiError:
        """Return what a provider's error means for the caller: never its key, and its words only where they help."""
        if getattr(error, "status_code", None) in (400, 413, 422):
            words = str(getattr(error, "message", "")).partition("\n")[0]
            return ApiError(400, "refused_by_provider", self.without_secrets(words)[:500])
        for kinds, status, code, message in MEANINGS:
            if isinstance(error, kinds):
                return ApiError(status, code, message, {"Retry-After": "5"} if status == 503 else None)
        return ApiError(502, "provider_failed", f"no provider has answered ({type(error).__name__})")

    def without_secrets(self, text: str) -> str:
        """Return a text without any provider's key or address."""
        for word in (*self._secrets.values(), *(each.base_url for each in self._providers.values())):
            text = text.replace(word, "…") if word else text
        return text


def refuse_cut(chunk: Any, stream: Any) -> None:
    """Refuse a chunk that ends an answer, if it was made up: LiteLLM says `stop` where a connection just ends.

    Raises:
        StreamCut: the provider has not ended the answer.
    """
    ended = any(choice.finish_reason for choice in chunk.choices)
    received = any(choice.finish_reason for each in stream.chunks for choice in each.choices)
    if ended and not received and not stream.fallback_headers_adopted:
        raise StreamCut


def reported_usage(stream: Any) -> Any:
    """Return the usage that a provider has reported in a stream; nothing where LiteLLM only guesses it."""
    return next((chunk.usage for chunk in reversed(stream.chunks) if getattr(chunk, "usage", None)), None)


def _completing(model: str) -> str:
    """Return what LiteLLM calls a model that is asked to go on with a text, not to chat."""
    who, _, bare = model.partition("/")
    completes = who == "openai" and bare not in litellm.open_ai_chat_completion_models
    return f"{completions.PROVIDER}/{bare}" if completes else model


def _nanos(dollars: float) -> int:
    """Return money in billionths of a dollar: what is less than one counts as one, but not an error of binary."""
    return ceil(round(dollars * NANO, 3))


def _listed_prices(provider: Provider) -> dict[str, float]:
    """Return what LiteLLM's list has of a model's prices for a token, in dollars."""
    who, _, bare = provider.model.partition("/")
    listed = litellm.model_cost.get(provider.model) or litellm.model_cost.get(bare) or {}
    if listed.get("litellm_provider", who).partition("-")[0] != who.partition("-")[0]:
        return {}  # another provider's model of the same name
    return {key: value for key, value in listed.items() if "cost_per_token" in key or "token_cost" in key}


def _most_price(provider: Provider) -> tuple[float, float]:
    """Return the highest price of a token that is sent, and of one that is answered, in dollars."""
    if provider.price:
        return provider.price.input / 1e6, provider.price.output / 1e6
    prices = _listed_prices(provider)
    given = [price for key, price in prices.items() if key.startswith("output_")]
    taken = [price for key, price in prices.items() if not key.startswith("output_")]
    return max(taken, default=0.0), max(given, default=0.0)
