"""The tables of neurogloss: what is asked, what is stored, what is left to do.

Arrays of activations are `bytea` of little-endian float16, in row-major order; the docstrings name
their dimensions. A neuron is (`layer`, `neuron`), both counted from 0.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  (SQLAlchemy reads it as it stands)
        str: Text,
        bytes: LargeBinary,
        float: Double,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[int]: ARRAY(Integer),
        list[float]: ARRAY(REAL),
    }


def _run_key() -> Mapped[int]:
    return mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)


class Vocabulary(Base):
    """A tokenizer's tokens, shared by all corpora that were cut with it."""

    __tablename__ = "vocabulary"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    n_tokens: Mapped[int]


class Token(Base):
    """One token. Bytes that are no UTF-8 by themselves read as U+FFFD, and so does NUL."""

    __tablename__ = "token"

    vocabulary_id: Mapped[int] = mapped_column(ForeignKey("vocabulary.id"), primary_key=True)
    token: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class Corpus(Base):
    """Excerpts cut from a text source, stored once and named by their content."""

    __tablename__ = "corpus"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    vocabulary_id: Mapped[int] = mapped_column(ForeignKey("vocabulary.id"))
    source: Mapped[str]
    n_excerpts: Mapped[int]
    excerpt_tokens: Mapped[int]
    n_documents: Mapped[int]
    n_documents_too_short: Mapped[int]
    n_windows: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Excerpt(Base):
    """Contiguous tokens of one document: `tokens` is int32 of shape (excerpt_tokens,)."""

    __tablename__ = "excerpt"

    corpus_id: Mapped[int] = mapped_column(ForeignKey("corpus.id"), primary_key=True)
    excerpt: Mapped[int] = mapped_column(primary_key=True)
    document: Mapped[str]
    position: Mapped[int]
    tokens: Mapped[bytes]


class Run(Base):
    """One frozen configuration over a set of neurons.

    `simulator` is how the simulator was found to be asked when the run was created; NULL where
    the configuration says it.
    """

    __tablename__ = "run"
    __table_args__ = (
        CheckConstraint("state IN ('running', 'paused', 'done')", name="state_is_known"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    config: Mapped[dict[str, Any]]
    config_hash: Mapped[str]
    corpus_id: Mapped[int] = mapped_column(ForeignKey("corpus.id"))
    n_layers: Mapped[int] = mapped_column(SmallInteger)
    neurons_per_layer: Mapped[int]
    state: Mapped[str] = mapped_column(server_default="running")
    pause_cause: Mapped[str | None]
    pause_reason: Mapped[str | None]
    budget_usd: Mapped[float | None]
    simulator: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    batches_due_at: Mapped[datetime | None]


class Neuron(Base):
    """A neuron that the run is about."""

    __tablename__ = "neuron"

    run_id: Mapped[int] = _run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)


class Shard(Base):
    """The part of a stage that one task does, and who is doing it.

    `start` up to, not including, `stop` counts excerpts in the steps of `collect` that read text,
    and neurons of `layer` elsewhere. Of its `weight`, `done` and `failed` are counted in the
    progress of its stage. `asked` says that its questions were put into batches. `token` rises with
    every claim: results are accepted from the latest claimant only.
    """

    __tablename__ = "shard"
    __table_args__ = (
        Index(
            "ix_shard_open",
            "run_id",
            "stage",
            "id",
            postgresql_where=text("state IN ('ready', 'queued', 'leased')"),
        ),
        CheckConstraint(
            "state IN ('waiting', 'ready', 'queued', 'leased', 'done')",
            name="state_is_known",
        ),
        {"postgresql_with": {"fillfactor": "70"}},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), index=True)
    stage: Mapped[str]
    step: Mapped[str] = mapped_column(server_default="")
    layer: Mapped[int] = mapped_column(SmallInteger)
    start: Mapped[int]
    stop: Mapped[int]
    weight: Mapped[int]
    done: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempts: Mapped[int] = mapped_column(server_default="0")
    token: Mapped[int] = mapped_column(server_default="0")
    asked: Mapped[bool] = mapped_column(server_default="false")
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None]
    error: Mapped[str | None]


class Progress(Base):
    """Counters of a stage, kept in the transaction of the result. Layer -1 is the whole model."""

    __tablename__ = "progress"

    run_id: Mapped[int] = _run_key()
    stage: Mapped[str] = mapped_column(primary_key=True)
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    total: Mapped[int]
    done: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    last_result_at: Mapped[datetime | None]


class Throughput(Base):
    """What a stage finished in each minute, from which rates and ETAs are read."""

    __tablename__ = "throughput"

    run_id: Mapped[int] = _run_key()
    stage: Mapped[str] = mapped_column(primary_key=True)
    minute: Mapped[datetime] = mapped_column(primary_key=True)
    finished: Mapped[int]


class CollectPart(Base):
    """What one read shard leaves of one layer, until the records are selected.

    `sums` is float64 (4, n_neurons): sums of the first four powers. `maxima` is float16
    (n_excerpts, n_neurons), in shards of reference excerpts only. Kept record i is the activations
    `kept_activations[i]`, float16 (n_kept, excerpt_tokens), of column `kept_neurons[i]` on excerpt
    `kept_excerpts[i]` (int32). `nonfinite` is uint8 (n_neurons,).
    """

    __tablename__ = "collect_part"

    run_id: Mapped[int] = _run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    start: Mapped[int] = mapped_column(primary_key=True)
    n_tokens: Mapped[int] = mapped_column(BigInteger)
    sums: Mapped[bytes]
    maxima: Mapped[bytes | None]
    nonfinite: Mapped[bytes]
    kept_neurons: Mapped[bytes]
    kept_excerpts: Mapped[bytes]
    kept_activations: Mapped[bytes]


class CollectBound(Base):
    """What is known of a layer while it is read.

    `boundaries` is float32 (n_neurons, 4). `top_keys` is int64 (n_neurons, top): the best keys so
    far, below which a shard need not keep an excerpt. Reading it late costs space, not exactness.
    """

    __tablename__ = "collect_bound"

    run_id: Mapped[int] = _run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    boundaries: Mapped[bytes | None]
    top_keys: Mapped[bytes | None]


class NeuronRecords(Base):
    """The activation records of a neuron, and the statistics of its activations.

    `activations` is float16 (n_records, excerpt_tokens); record i is on excerpt `excerpts[i]`.
    `top_records` and `random_records` index into them, in rank order; `bucket_records` too, where
    record i belongs to quantile bucket `buckets[i]`. Moments are over all tokens of the corpus.
    """

    __tablename__ = "neuron_records"

    run_id: Mapped[int] = _run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    excerpts: Mapped[list[int]]
    activations: Mapped[bytes]
    top_records: Mapped[list[int]]
    random_records: Mapped[list[int]]
    bucket_records: Mapped[list[int]]
    buckets: Mapped[list[int]]
    quantile_boundaries: Mapped[list[float]]
    max_activation: Mapped[float]
    mean: Mapped[float]
    variance: Mapped[float]
    skewness: Mapped[float | None]
    kurtosis: Mapped[float | None]
    n_tokens: Mapped[int] = mapped_column(BigInteger)
    undefined_reason: Mapped[str | None]


class TokenMeans(Base):
    """A neuron's token lookup table, without the excerpts on which the neuron is scored.

    It holds the tokens of the scored records and those of the highest mean, sorted: `tokens` int32
    (n,), `means` float32 (n,), `counts` int32 (n,). `top_tokens` are the highest means, in order.
    """

    __tablename__ = "token_means"

    run_id: Mapped[int] = _run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    tokens: Mapped[bytes]
    means: Mapped[bytes]
    counts: Mapped[bytes]
    top_tokens: Mapped[list[int]]
    default_mean: Mapped[float]


class Explanation(Base):
    """What the explainer wrote about a neuron. One for each neuron and run."""

    __tablename__ = "explanation"

    run_id: Mapped[int] = _run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    explainer: Mapped[str]
    call: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Simulation(Base):
    """What the simulator expects of a neuron on one excerpt: float16 (excerpt_tokens,).

    `distribution` is float16 (excerpt_tokens, 11): the probability that the simulator gave to each
    of the numbers 0 to 10; what a row lacks to 1 went to other tokens. NULL where the simulator
    only names a number. `call` is the call that it was read from, or the first of them.
    """

    __tablename__ = "simulation"

    run_id: Mapped[int] = _run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    excerpt: Mapped[int] = mapped_column(primary_key=True)
    expected_activations: Mapped[bytes]
    distribution: Mapped[bytes | None]
    activation_scale: Mapped[str]
    simulator: Mapped[str]
    call: Mapped[bytes | None]


class Score(Base):
    """How well the simulation matches the truth; `undefined_reason` says why there is no score."""

    __tablename__ = "score"
    __table_args__ = (Index("ix_score_best", "run_id", "score"),)

    run_id: Mapped[int] = _run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    score: Mapped[float | None]
    score_top: Mapped[float | None]
    score_random: Mapped[float | None]
    rsquared: Mapped[float | None]
    absolute_dev_explained: Mapped[float | None]
    undefined_reason: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Failure(Base):
    """Why a neuron has no result in a stage."""

    __tablename__ = "failure"

    run_id: Mapped[int] = _run_key()
    stage: Mapped[str] = mapped_column(primary_key=True)
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    failure_class: Mapped[str]
    message: Mapped[str]
    attempts: Mapped[int]
    request_id: Mapped[str | None]
    failed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Retry(Base):
    """How often a person asked to try a neuron's stage again: part of a call's identity."""

    __tablename__ = "retry"

    run_id: Mapped[int] = _run_key()
    stage: Mapped[str] = mapped_column(primary_key=True)
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    times: Mapped[int]


class Batch(Base):
    """A file of questions that an endpoint answers in its own time.

    `mark` is our name for it, which the endpoint keeps beside its own, `batch_id`: so it is found
    again if we crash while it is created. `outcome` is what became of it. `enqueued_tokens` are its
    own prompt tokens and those of all batches that were under way when it was made.
    """

    __tablename__ = "batch"
    __table_args__ = (
        CheckConstraint(
            "state IN ('building', 'uploaded', 'submitted', 'ended')", name="state_is_known"
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), index=True)
    mark: Mapped[str] = mapped_column(unique=True)
    endpoint: Mapped[str]
    model: Mapped[str]
    path: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="building")
    outcome: Mapped[str | None]
    file_id: Mapped[str | None]
    batch_id: Mapped[str | None]
    n_requests: Mapped[int]
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    enqueued_tokens: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]


class BatchRequest(Base):
    """A question that is to be asked in a batch. It goes when its answer is in the ledger.

    `batch` is the one that it is in, if it is in one; `failure_class` says that it will not be
    answered.
    """

    __tablename__ = "batch_request"
    __table_args__ = (
        Index(
            "ix_batch_request_pending",
            "run_id",
            "endpoint",
            "model",
            "path",
            "created_at",
            postgresql_where=text("batch IS NULL AND failure_class IS NULL"),
        ),
    )

    run_id: Mapped[int] = _run_key()
    identity: Mapped[bytes] = mapped_column(primary_key=True)
    purpose: Mapped[str]
    endpoint: Mapped[str]
    model: Mapped[str]
    path: Mapped[str]
    body: Mapped[bytes]
    prompt_tokens: Mapped[int]
    max_completion_tokens: Mapped[int]
    batch: Mapped[int | None] = mapped_column(ForeignKey("batch.id"), index=True)
    attempts: Mapped[int] = mapped_column(server_default="0")
    failure_class: Mapped[str | None]
    message: Mapped[str | None]
    request_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class BatchWait(Base):
    """A shard that waits for the answer to a question. It is not begun while it waits for any."""

    __tablename__ = "batch_wait"
    __table_args__ = (Index("ix_batch_wait_run_id_identity", "run_id", "identity"),)

    shard_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("shard.id", ondelete="CASCADE"), primary_key=True
    )
    identity: Mapped[bytes] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))


class CallRecord(Base):
    """An answer that was paid for, under the hash of everything that can change it.

    `distributions` is what is kept of its log probabilities: see `worker.neurons.distributions`.
    """

    __tablename__ = "call"

    identity: Mapped[bytes] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), index=True)
    purpose: Mapped[str]
    endpoint: Mapped[str]
    model: Mapped[str]
    text: Mapped[str]
    finish_reason: Mapped[str | None]
    refusal: Mapped[str | None]
    distributions: Mapped[bytes | None]
    prompt_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    usd: Mapped[float]
    wasted_usd: Mapped[float]
    attempts: Mapped[int]
    latency_ms: Mapped[int]
    request_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Spend(Base):
    """What a run paid, by stage and model, kept in the transaction of the calls."""

    __tablename__ = "spend"

    run_id: Mapped[int] = _run_key()
    stage: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    calls: Mapped[int] = mapped_column(BigInteger)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    cached_tokens: Mapped[int] = mapped_column(BigInteger)
    completion_tokens: Mapped[int] = mapped_column(BigInteger)
    usd: Mapped[float]
    wasted_usd: Mapped[float]


class BudgetHold(Base):
    """What a worker process has set aside of a run's budget, for calls it has not paid yet."""

    __tablename__ = "budget_hold"

    run_id: Mapped[int] = _run_key()
    process: Mapped[str] = mapped_column(primary_key=True)
    usd: Mapped[float]
    expires_at: Mapped[datetime]


class Worker(Base):
    """A worker process and when it last said that it lives."""

    __tablename__ = "worker"

    worker: Mapped[str] = mapped_column(primary_key=True)
    queue: Mapped[str]
    host: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished: Mapped[int] = mapped_column(BigInteger, server_default="0")
