"""Embeddings, from request bytes to answer bytes. Texts that share words are near each other."""

import base64
import hashlib
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rehearsal.chat_requests import count_tokens
from rehearsal.exchanges import RenderedAnswer
from rehearsal.faults import ContentFault
from rehearsal.options import RehearsalOptions
from rehearsal.replies import Usage
from rehearsal.request_checks import bad_request, load_json, refuse_unknown_model
from rehearsal.seeded_random import uniform

DIMENSIONS = 64

Input = Annotated[str, Field(min_length=1)]
Vector = list[float]


class EmbeddingRequest(BaseModel):
    """The part of a request for embeddings on which the answer depends."""

    model_config = ConfigDict(strict=True)

    model: str
    input: Input | Annotated[list[Input], Field(min_length=1, max_length=2048)]
    dimensions: Annotated[int, Field(ge=1, le=4096)] = DIMENSIONS
    encoding_format: Literal["float", "base64"] = "float"

    @property
    def texts(self) -> list[str]:
        """The texts; a single one may come without a list."""
        return [self.input] if isinstance(self.input, str) else self.input


def read_embeddings(body: bytes, options: RehearsalOptions) -> "EmbeddingExchange":
    """Read a request for embeddings.

    Raises:
        ApiError: 400 for what this server does not do, 404 for an unknown model.
    """
    try:
        request = EmbeddingRequest.model_validate(load_json(body))
    except ValidationError as error:
        raise bad_request(error) from error
    refuse_unknown_model(request.model, options.models)
    return EmbeddingExchange(request, hashlib.sha256(body).digest(), options.seed)


@dataclass(frozen=True, slots=True)
class EmbeddingExchange:
    """A request for embeddings."""

    request: EmbeddingRequest
    digest: bytes
    seed: int

    @property
    def model(self) -> str:
        return self.request.model

    @property
    def prompt(self) -> str:
        return "\n".join(self.request.texts)

    @property
    def prompt_tokens(self) -> int:
        return sum(map(count_tokens, self.request.texts))

    def render(self, fault: ContentFault | None) -> RenderedAnswer:
        """Return the answer. No fault of its content can apply: there is no text in it."""
        return RenderedAnswer(completion_tokens=0, fault=None, to_json=self._to_json)

    def _to_json(self, usage: Usage) -> bytes:
        vectors = [_vector(self.seed, text, self.request.dimensions) for text in self.request.texts]
        return orjson.dumps(
            {
                "object": "list",
                "model": self.model,
                "data": [
                    {"object": "embedding", "index": index, "embedding": self._encoded(vector)}
                    for index, vector in enumerate(vectors)
                ],
                "usage": {
                    "prompt_tokens": usage.prompt_tokens,
                    "total_tokens": usage.prompt_tokens,
                },
            }
        )

    def _encoded(self, vector: Vector) -> Any:
        if self.request.encoding_format == "float":
            return vector
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _vector(seed: int, text: str, dimensions: int) -> Vector:
    """Return the normalised sum of a direction for each word of a text."""
    # A text without a word, such as "!!", is taken as one: a sum of no directions has no length.
    words = re.findall(r"\w+", text.lower()) or [text]
    sums = [
        # Centred on 0, or all vectors would point into the same corner. `fsum` is exact, so the
        # order of the words does not change a bit.
        math.fsum(uniform(seed, "embedding", word, place) - 0.5 for word in words)
        for place in range(dimensions)
    ]
    return _normalised(sums)


def _normalised(values: Sequence[float]) -> Vector:
    length = math.hypot(*values)
    return [value / length for value in values]
