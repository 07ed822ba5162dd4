"""Completions as streams through LiteLLM, which makes a plain generator of them.

A generator is asked for nothing before its first piece is wanted, so no other provider is tried when it fails, and it
does not show what the provider has really sent. As what a chat's stream is, it is treated like one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import litellm
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
from litellm.llms.openai.completion.handler import OpenAITextCompletion
from litellm.llms.openai.workload_identity import build_async_openai_client

PROVIDER = "text-completion-openai"
"""What LiteLLM calls OpenAI's, and other servers', /completions."""


class StreamedCompletions(OpenAITextCompletion):
    """LiteLLM's client of /completions."""

    async def async_streaming(  # type: ignore[override]
        self,
        logging_obj: Any,
        api_key: str,
        data: dict[str, Any],
        headers: Mapping[str, str],  # noqa: ARG002  LiteLLM names them all
        model_response: Any,  # noqa: ARG002
        model: str,
        timeout: float,
        max_retries: int,
        api_base: str | None = None,
        client: Any = None,
        organization: str | None = None,
        litellm_params: Mapping[str, object] | None = None,
    ) -> CustomStreamWrapper:
        """Return a stream that has begun."""
        client = client or build_async_openai_client(
            api_key=api_key,
            api_base=api_base,
            timeout=timeout,
            max_retries=max_retries,
            organization=organization,
            litellm_params=litellm_params,
            static_key_http_client_factory=lambda: litellm.aclient_session,
        )
        return CustomStreamWrapper(
            completion_stream=await client.completions.create(**data),
            model=model,
            custom_llm_provider=PROVIDER,
            logging_obj=logging_obj,
            stream_options=data.get("stream_options"),
        )


def install() -> None:
    """Have LiteLLM use it."""
    litellm.main.openai_text_completions = StreamedCompletions()  # type: ignore[misc]
