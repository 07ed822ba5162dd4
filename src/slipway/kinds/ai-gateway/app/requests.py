"""What callers may send: the parameters of OpenAI's API that are passed on, and no others.

LiteLLM takes many more, such as another address for the key to be sent to: so what is not listed here is refused.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import ApiError
from app.prompts import Prompt


class Part(BaseModel):
    """Something of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Text(Part):
    """A piece of a message. Images and sound are refused: guards cannot look into them."""

    type: Literal["text"]
    text: str


class Function(Part):
    """A call of a tool that a model has asked for."""

    name: str
    arguments: str


class ToolCall(Part):
    """The same, with its number."""

    id: str
    type: Literal["function"] = "function"
    function: Function


class Message(Part):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Text] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class Tool(Part):
    """A function of the caller's that a model may ask for."""

    type: Literal["function"]
    function: dict[str, Any]


class StreamOptions(Part):
    """Whether a stream ends with the count of its tokens."""

    include_usage: bool = False


class Request(Part):
    """What all requests have."""

    kind: ClassVar[str]
    model: str
    user: str | None = None


class Generation(Request):
    """What requests for text have."""

    max_tokens: int | None = Field(default=None, ge=1)
    n: int = Field(default=1, ge=1, le=8)
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None


class Chat(Generation):
    """POST /v1/chat/completions."""

    kind = "chat"
    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: int | None = Field(default=None, ge=1)
    tools: list[Tool] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None


class Completion(Generation):
    """POST /v1/completions."""

    kind = "completion"
    prompt: str


class Embedding(Request):
    """POST /v1/embeddings."""

    kind = "embedding"
    input: str | list[str]
    dimensions: int | None = Field(default=None, ge=1)
    encoding_format: Literal["float", "base64"] | None = None


class PromptCall(Part):
    """POST /prompts/NAME."""

    variables: dict[str, str] = {}


Sent = TypeVar("Sent", bound=Part)


def parse(shape: type[Sent], body: bytes) -> Sent:
    """Return what a request's body says.

    Raises:
        ApiError: it is not such a request; the message has the key, never the value.
    """
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        known = f"; known here: {', '.join(shape.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise ApiError(400, "invalid_request", f"{key or 'the body'}: {first['msg']}{known}") from error


def of_prompt(prompt: Prompt, messages: list[dict[str, str]]) -> Chat:
    """Return the request that a prompt makes of its variables."""
    parameters, schema = prompt.front.parameters, prompt.front.json_schema
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    return Chat(
        model=prompt.model,
        messages=[Message.model_validate(message) for message in messages],
        max_tokens=parameters.max_output,
        temperature=parameters.temperature,
        top_p=parameters.top_p,
        seed=parameters.seed,
        response_format=form if schema else None,
    )


def size(sent: dict[str, Any]) -> int:
    """Return how many tokens a request's input may be at most: a token is a byte or more, and models add some.

    Raises:
        ApiError: it has a number that JSON does not have.
    """
    keys = ("messages", "prompt", "input", "tools", "tool_choice", "response_format")
    try:
        texts = json.dumps({key: sent[key] for key in keys if key in sent}, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise ApiError(400, "invalid_request", "NaN and Infinity are no numbers of JSON") from error
    return len(texts.encode(errors="replace")) + 64 + 16 * len(sent.get("messages", ()))
