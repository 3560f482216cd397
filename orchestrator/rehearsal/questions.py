"""Reading a request for a chat completion."""

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from orchestrator.rehearsal.replies import ApiError

CHARACTERS_PER_TOKEN = 4


def count_tokens(text: str) -> int:
    """Return a token count that needs no tokenizer: a quarter of the characters, rounded up."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request for a chat completion, as far as the answer depends on it."""

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
    """Alternatives asked for at each token; None if no log probabilities are wanted."""


def read_question(body: bytes, models: tuple[str, ...]) -> Question:
    """Read a request body.

    Args:
        body: JSON, as it came.
        models: Names that exist; empty if any does.

    Raises:
        ApiError: 400 for what no API would take, 404 for an unknown model.
    """
    try:
        request = _Request.model_validate_json(body)
    except ValidationError as error:
        raise _bad_request(error) from error
    _refuse_unsupported(request)
    if models and request.model not in models:
        raise ApiError(
            404,
            f"the model `{request.model}` does not exist here; there is {', '.join(models)}",
            code="model_not_found",
            param="model",
        )
    return _question(body, request)


def _question(body: bytes, request: "_Request") -> Question:
    texts = [message.text() for message in request.messages]
    from_user = [
        text
        for message, text in zip(request.messages, texts, strict=True)
        if message.role == "user"
    ]
    form = request.response_format
    return Question(
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


def _refuse_unsupported(request: _Request) -> None:
    if request.n not in (None, 1):
        raise ApiError(400, "n: the rehearsal server gives one answer, use 1", param="n")
    if request.stream:
        raise ApiError(400, "stream: the rehearsal server does not stream", param="stream")
    form = request.response_format
    if form.type == "json_schema" and form.json_schema is None:
        raise ApiError(
            400, "response_format: json_schema is missing", param="response_format.json_schema"
        )


def _bad_request(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return ApiError(400, f"the body is not JSON: {first['msg']}")
    param = ".".join(str(part) for part in first["loc"])
    return ApiError(400, f"{param}: {first['msg']}", param=param)
