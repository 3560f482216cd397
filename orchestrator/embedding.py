"""Embedding explanations, and the texts that people search for."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from db import embeddings
from db.embeddings import RunEmbedding, UnembeddedExplanation
from db.runs import StoredRun
from db.session import transaction
from neurogloss.config.endpoint import EndpointConfig
from neurogloss.errors import BadCredentials, InputError, NeuroglossError
from neurogloss.llm.embeddings import Embedded, EmbeddingClient
from neurogloss.llm.endpoint import Endpoint
from worker.run import Run

AT_ONCE = 256  # texts of a request; OpenAI takes 2,048, servers of one's own often fewer
CONCURRENCY = 4  # requests in flight
CHARACTERS_PER_TOKEN = 4  # of English, for what is said before anything is paid
QUERY_S, QUERY_WAIT_S = 10.0, 2.0  # for an answer, and for a server that is away
QUERIES_A_MINUTE = 60  # that a server of pages pays for; those that it remembers are free

Say = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A model that embeds: where it is, its name, how many dimensions are asked for."""

    endpoint: Endpoint
    api_key_env: str | None
    name: str
    dimensions: int | None


@dataclass(frozen=True, slots=True)
class Embedding:
    """What was embedded: explanations, the tokens that were paid for, USD."""

    run: str
    model: str
    explanations: int
    tokens: int
    usd: float


def model_of(
    run: StoredRun,
    env: Mapping[str, str],
    *,
    base_url: str | None = None,
    api_key_env: str | None = None,
    model: str | None = None,
    dimensions: int | None = None,
) -> EmbeddingModel:
    """Return the model of a run's table [embeddings], or that of the arguments.

    Raises:
        InputError: Neither names an endpoint.
        BadCredentials: The variable that should hold the key is not set.
    """
    config = Run.of(run).config
    stated = config.embeddings
    if base_url is not None:
        endpoint, name = EndpointConfig(base_url=base_url, api_key_env=api_key_env), "embeddings"
    elif stated.model is not None:
        endpoint, name = config.endpoints[stated.endpoint], stated.endpoint
    else:
        raise InputError(
            f"run {run.name!r} names no model that embeds: give --base-url and --model, or a table "
            "[embeddings] in the file of the next run"
        )
    named = model or (stated.model if base_url is None else None)
    if named is None:
        raise InputError("--base-url needs --model")
    of_run = stated.dimensions if base_url is None else None
    found = Endpoint.from_config(name, endpoint, env)
    return EmbeddingModel(found, endpoint.api_key_env, named, dimensions or of_run)


def embed_run(engine: Engine, run: StoredRun, model: EmbeddingModel, say: Say) -> Embedding:
    """Embed the explanations of a run that are not embedded yet; what is done stays done.

    Raises:
        InputError: The run is embedded by another model.
        RunError: The endpoint does not answer.
    """
    with transaction(engine) as connection:
        embeddings.prepare(connection)
        known = embeddings.find(connection, run.id)
        total = embeddings.count_unembedded(connection, run.id).explanations
    _check_same(known, model)
    done = tokens = 0
    usd, by = 0.0, known
    price = model.endpoint.price(model.name)
    with EmbeddingClient(model.endpoint, model.name, model.dimensions) as client:
        for explanations, found in _embedded(engine, run.id, client):
            by = _checked(by, run.id, model, found.vectors)
            cost = price.cost(found.tokens, 0, 0)
            with transaction(engine) as connection:
                embeddings.save(connection, by, explanations, found.vectors, found.tokens, cost)
            done, tokens, usd = done + len(explanations), tokens + found.tokens, usd + cost
            say(done, total)
    if by is not None:
        with transaction(engine) as connection:
            # At the end: an index that grows with each row takes far longer.
            embeddings.build_index(connection, by)
    return Embedding(run.name, model.name, done, tokens, usd)


def _check_same(known: RunEmbedding | None, model: EmbeddingModel) -> None:
    if known is not None and known.model != model.name:
        raise InputError(
            f"it is embedded by {known.model!r}, and embeddings of two models do not compare: "
            "--restart embeds it anew"
        )


def _checked(
    by: RunEmbedding | None, run_id: int, model: EmbeddingModel, vectors: NDArray[np.float32]
) -> RunEmbedding:
    """Return how the run is embedded, after a check that all embeddings are as long."""
    dimensions = vectors.shape[1]
    if by is None:
        return RunEmbedding(
            run_id, model.endpoint.base_url, model.api_key_env, model.name, dimensions
        )
    if by.dimensions != dimensions:
        raise InputError(
            f"the embeddings have {dimensions} dimensions, those that are stored {by.dimensions}: "
            "--restart embeds the run anew"
        )
    return by


def _embedded(
    engine: Engine, run_id: int, client: EmbeddingClient
) -> Iterator[tuple[list[UnembeddedExplanation], Embedded]]:
    """Yield explanations with their embeddings, in order; some requests are in flight meanwhile."""
    in_flight: deque[tuple[list[UnembeddedExplanation], Future[Embedded]]] = deque()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        try:
            for some in _pages(engine, run_id):
                texts = [one.text for one in some]
                in_flight.append((some, pool.submit(client.embed, texts)))
                if len(in_flight) >= CONCURRENCY:
                    yield _next(in_flight)
            while in_flight:
                yield _next(in_flight)
        finally:
            for _, future in in_flight:
                # What is not sent yet need not be paid for.
                future.cancel()


def _next(
    in_flight: deque[tuple[list[UnembeddedExplanation], Future[Embedded]]],
) -> tuple[list[UnembeddedExplanation], Embedded]:
    explanations, future = in_flight.popleft()
    return explanations, future.result()


def _pages(engine: Engine, run_id: int) -> Iterator[list[UnembeddedExplanation]]:
    after = (-1, -1)
    while True:
        with transaction(engine) as connection:
            some = embeddings.unembedded(connection, run_id, after, AT_ONCE)
        if not some:
            return
        yield some
        # By place, not by offset: rows before it are being embedded meanwhile.
        after = (some[-1].layer, some[-1].neuron)


class QueryEmbeddings:
    """Embeds what people search for. Safe for several threads.

    What was searched before costs nothing.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._paid_at: deque[float] = deque(maxlen=QUERIES_A_MINUTE)
        self._lock = threading.Lock()
        # For this instance: an lru_cache on the method would keep every instance alive. Errors are
        # not kept.
        self._embed = lru_cache(maxsize=1000)(self._ask)

    def __call__(self, by: RunEmbedding, query: str) -> NDArray[np.float32]:
        """Return the embedding (n_dimensions,) of a text.

        Raises:
            InputError: There is no answer; the message says why.
        """
        return self._embed(by, query)

    def _ask(self, by: RunEmbedding, query: str) -> NDArray[np.float32]:
        self._count()
        config = EndpointConfig(
            base_url=by.base_url,
            api_key_env=by.api_key_env,
            timeout_s=QUERY_S,
            wait_s=QUERY_WAIT_S,
        )
        try:
            endpoint = Endpoint.from_config("embeddings", config, self._env)
            with EmbeddingClient(endpoint, by.model, by.dimensions) as client:
                vector: NDArray[np.float32] = client.embed([query], attempts=2).vectors[0]
        except BadCredentials as error:
            raise InputError(f"{error}: it has the key of {by.model}") from error
        except NeuroglossError as error:
            raise InputError(f"{by.model} did not answer: {error}") from error
        if len(vector) != by.dimensions:
            raise InputError(
                f"{by.model} now answers with {len(vector)} dimensions, not {by.dimensions}"
            )
        return vector

    def _count(self) -> None:
        """Refuse a query where too many were paid for: pages are read by whoever reaches them."""
        with self._lock:
            now = time.monotonic()
            is_full = len(self._paid_at) == QUERIES_A_MINUTE
            if is_full and now - self._paid_at[0] < 60:
                raise InputError(f"more than {QUERIES_A_MINUTE} searches a minute: wait a little")
            self._paid_at.append(now)
