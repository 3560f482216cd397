"""Embeddings of texts, from an OpenAI-compatible endpoint."""

import base64
import binascii
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx
import numpy as np
from numpy.typing import NDArray
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from neurogloss.errors import EndpointUnreachable, Malformed, TransientError
from neurogloss.llm.bounded_http import BlockingHttp
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.json_text import read_json
from neurogloss.llm.outage import Outage, is_unknown_host
from neurogloss.llm.responses import raise_for_error
from neurogloss.llm.transports import proxy_of
from neurogloss.neurons.codec import unpack_array

PATH = "/embeddings"
ATTEMPTS = 6
LONGEST_TEXT = 8000  # characters: less than the 8,192 tokens that OpenAI's models read
MOST_DIMENSIONS = 4000  # that pgvector's halfvec has in an index


@dataclass(frozen=True, slots=True)
class Embedded:
    """Embeddings float32 (n_texts, n_dimensions) of length 1, and the tokens that were paid for."""

    vectors: NDArray[np.float32]
    tokens: int


class EmbeddingClient:
    """Asks one model for embeddings. Safe for several threads.

    Args:
        endpoint: Of its limits only the timeout and the wait for a server that is away are kept.
        model: Its name at the endpoint.
        dimensions: How many to ask for, where the model has a choice.
    """

    def __init__(self, endpoint: Endpoint, model: str, dimensions: int | None = None) -> None:
        self._endpoint, self._model, self._dimensions = endpoint, model, dimensions
        proxy_of(endpoint.base_url)  # one that cannot be used is refused here
        self._http = BlockingHttp(endpoint.base_url, endpoint.api_key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def embed(self, texts: Sequence[str], attempts: int = ATTEMPTS) -> Embedded:
        """Return the embeddings of texts, in their order.

        Raises:
            RowError: There is no answer to this request, or it is Malformed.
            RunError: There would be none to any.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            wait=wait_random_exponential(multiplier=0.5, max=20.0),
            stop=stop_after_attempt(attempts),
            reraise=True,
        )
        cut = [text[:LONGEST_TEXT] for text in texts]
        try:
            return retrying(self._when_there, cut)
        except TransientError as error:
            raise EndpointUnreachable(f"{self._endpoint.name}: {error}") from error

    def _when_there(self, texts: list[str]) -> Embedded:
        """Send; a server that is away, or has no capacity left, is waited for."""
        outage = Outage(self._endpoint.name, self._endpoint.wait_s)
        while True:
            try:
                found = self._send(texts)
            except TransientError as error:
                if is_unknown_host(error):
                    raise
                seconds = outage.wait_for(error, patience=1)
                if seconds is None:
                    raise
                time.sleep(seconds)
            else:
                outage.end()
                return found

    def _send(self, texts: list[str]) -> Embedded:
        body: dict[str, Any] = {"model": self._model, "input": texts}
        if self._dimensions is not None:
            body["dimensions"] = self._dimensions
        response = self._http.send("POST", PATH, seconds=self._endpoint.timeout_s, json=body)
        raise_for_error(response, self._endpoint.api_key)
        return _read(response, len(texts))


def _read(response: httpx.Response, n_texts: int) -> Embedded:
    """Return the embeddings in a response.

    Raises:
        Malformed: It has another number of them, or they are no vectors of one length.
    """
    try:
        body = read_json(response.content)
        # A server need not keep the order of the texts.
        data = sorted(body["data"], key=lambda one: int(one["index"]))
        rows = [_values(one["embedding"]) for one in data]
        vectors = np.array(rows, dtype=np.float32)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise Malformed(f"the answer holds no embeddings: {type(error).__name__}") from error
    if vectors.ndim != 2 or len(vectors) != n_texts:
        raise Malformed(f"{len(vectors)} embeddings came for {n_texts} texts")
    if not 1 <= vectors.shape[1] <= MOST_DIMENSIONS:
        raise Malformed(
            f"an embedding has {vectors.shape[1]} dimensions; up to {MOST_DIMENSIONS} can be "
            "searched: ask for fewer"
        )
    # Divided by their lengths, so that the inner product of two is their cosine for every model.
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(vectors).all() and (lengths > 0).all()):
        raise Malformed("an embedding is zero or not finite")
    return Embedded(vectors / lengths, _tokens(body))


def _values(embedding: object) -> Any:
    """Return the numbers of an embedding, which some servers send in base64 without being asked."""
    if not isinstance(embedding, str):
        return embedding
    try:
        return unpack_array(base64.b64decode(embedding, validate=True), np.float32)
    except binascii.Error as error:
        raise ValueError("no base64") from error


def _tokens(body: Mapping[str, Any]) -> int:
    usage = body.get("usage")
    tokens = usage.get("prompt_tokens", 0) if isinstance(usage, dict) else 0
    is_count = isinstance(tokens, int) and 0 <= tokens < 2**31
    return int(tokens) if is_count else 0
