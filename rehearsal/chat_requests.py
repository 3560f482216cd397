"""Reading requests for chat completions."""

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from rehearsal.capabilities import ALL_CAPABILITIES, Capabilities
from rehearsal.replies import ApiError
from rehearsal.request_checks import (
    bad_request,
    load_json,
    refuse_unknown_model,
    refuse_unsupported,
)

CHARACTERS_PER_TOKEN = 4


def count_tokens(text: str) -> int:
    """Return an estimate of the tokens of a text: a quarter of its characters, rounded up."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """The part of a request for a chat completion on which the answer depends."""

    digest: bytes
    """SHA-256 of the request body."""
    model: str
    prompt: str
    """The texts of all messages, in order."""
    last_user_text: str
    answer_form: Literal["text", "json_object", "json_schema"]
    schema: dict[str, Any]
    """Empty unless the answer form is json_schema."""
    max_tokens: int | None
    top_logprobs: int | None
    """Alternatives to give at each token; None for an answer without log probabilities."""


def read_chat_request(
    body: bytes, models: tuple[str, ...], capabilities: Capabilities = ALL_CAPABILITIES
) -> ChatRequest:
    """Read a request body.

    Args:
        body: JSON, unchanged.
        models: The names of the models; empty if any name will do.
        capabilities: The features of the server.

    Raises:
        ApiError: 400 for what this server does not do, 404 for an unknown model.
    """
    try:
        request = _Request.model_validate(load_json(body))
    except ValidationError as error:
        raise bad_request(error) from error
    refuse_unsupported(n=request.n, stream=request.stream)
    _refuse_missing_schema(request)
    refuse_unknown_model(request.model, models)
    _refuse_missing_features(request, capabilities)
    return _chat_request(body, request)


def _chat_request(body: bytes, request: "_Request") -> ChatRequest:
    texts = [message.text() for message in request.messages]
    from_user = [
        text
        for message, text in zip(request.messages, texts, strict=True)
        if message.role == "user"
    ]
    form = request.response_format
    return ChatRequest(
        # Of the bytes as they came: the account counts how often the very same request is paid for.
        digest=hashlib.sha256(body).digest(),
        model=request.model,
        prompt="\n".join(texts),
        last_user_text=from_user[-1] if from_user else "",
        answer_form=form.type,
        schema=form.json_schema.body if form.json_schema else {},
        max_tokens=request.max_completion_tokens or request.max_tokens,
        top_logprobs=request.top_logprobs if request.logprobs else None,
    )


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class _Message(BaseModel):
    role: str
    content: str | list[_Part] | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class _JsonSchema(BaseModel):
    body: dict[str, Any] = Field(alias="schema")


class _ResponseFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: _JsonSchema | None = None


class _Request(BaseModel):
    # Strict: a rehearsal should find a client's wrong types, not convert them.
    model_config = ConfigDict(strict=True)

    model: str
    messages: list[_Message] = Field(min_length=1)
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    response_format: _ResponseFormat = _ResponseFormat()
    logprobs: bool | None = None
    top_logprobs: int = Field(default=0, ge=0, le=20)
    n: int | None = None
    stream: bool | None = None
    temperature: float | None = None


def _refuse_missing_schema(request: _Request) -> None:
    form = request.response_format
    if form.type == "json_schema" and form.json_schema is None:
        raise ApiError(
            400, "response_format: json_schema is missing", param="response_format.json_schema"
        )


def _refuse_missing_features(request: _Request, capabilities: Capabilities) -> None:
    if request.response_format.type == "json_schema":
        capabilities.require("json_schema", "response_format")
    if request.logprobs:
        capabilities.require_logprobs(request.top_logprobs, "top_logprobs")
    capabilities.refuse_as_reasoning_model(
        max_tokens=request.max_tokens is not None,
        logprobs=bool(request.logprobs),
        temperature=request.temperature,
    )
