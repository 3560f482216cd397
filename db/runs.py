"""Runs and their corpora: creating, finding, pausing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, RowMapping, func, insert, select, text, update

from db.bulk import upsert
from db.codec import INT32
from db.tables import (
    Base,
    CorpusTable,
    ExcerptTable,
    NeuronTable,
    ProgressTable,
    RunTable,
    ShardTable,
    TokenTable,
    VocabularyTable,
)
from neurogloss.neurons.records import IntArray

EXCERPT_COLUMNS = ("corpus_id", "excerpt", "document", "position", "tokens")
SHARD_COLUMNS = ("run_id", "stage", "step", "layer", "start", "stop", "weight", "state")


def find(connection: Connection, name: str) -> RowMapping | None:
    """Return the run of this name, if there is one."""
    return (
        connection.execute(select(*RunTable.__table__.c).where(RunTable.name == name))
        .mappings()
        .first()
    )


def get(connection: Connection, run_id: int) -> RowMapping:
    """Return a run.

    Raises:
        LookupError: There is none with this id.
    """
    found = (
        connection.execute(select(*RunTable.__table__.c).where(RunTable.id == run_id))
        .mappings()
        .first()
    )
    if found is None:
        raise LookupError(f"there is no run with id {run_id}")
    return found


def get_for_update(connection: Connection, run_id: int) -> RowMapping:
    """Return a run, which nobody else changes until the commit."""
    query = select(*RunTable.__table__.c).where(RunTable.id == run_id).with_for_update()
    return connection.execute(query).mappings().one()


def latest(connection: Connection) -> RowMapping | None:
    """Return the run that was created last; one that is being imported is none yet."""
    query = (
        select(*RunTable.__table__.c)
        .where(RunTable.state != "importing")
        .order_by(RunTable.id.desc())
        .limit(1)
    )
    return connection.execute(query).mappings().first()


def create(connection: Connection, values: Mapping[str, Any]) -> int:
    """Store a run and return its id."""
    statement = insert(RunTable).values(**values).returning(RunTable.id)
    return int(connection.execute(statement).scalar_one())


def save_vocabulary(connection: Connection, digest: str, texts: Sequence[str]) -> int:
    """Store a tokenizer's tokens, unless they are stored, and return the vocabulary's id."""
    found = connection.scalar(select(VocabularyTable.id).where(VocabularyTable.digest == digest))
    if found is not None:
        return int(found)
    values = {"digest": digest, "n_tokens": len(texts)}
    statement = insert(VocabularyTable).values(values).returning(VocabularyTable.id)
    vocabulary_id = int(connection.execute(statement).scalar_one())
    rows = ((vocabulary_id, token, value) for token, value in enumerate(texts))
    upsert(connection, table(TokenTable), ("vocabulary_id", "token", "text"), rows)
    return vocabulary_id


def save_corpus(
    connection: Connection, values: Mapping[str, Any], excerpts: Iterable[tuple[str, int, bytes]]
) -> int:
    """Store excerpts (document, position, tokens), unless they are stored; return the corpus id."""
    found = connection.scalar(select(CorpusTable.id).where(CorpusTable.digest == values["digest"]))
    if found is not None:
        return int(found)
    statement = insert(CorpusTable).values(**values).returning(CorpusTable.id)
    corpus_id = int(connection.execute(statement).scalar_one())
    rows = ((corpus_id, number, *excerpt) for number, excerpt in enumerate(excerpts))
    upsert(connection, table(ExcerptTable), EXCERPT_COLUMNS, rows)
    return corpus_id


def save_plan(
    connection: Connection,
    run_id: int,
    *,
    neurons: Iterable[tuple[int, int, bool]],
    shards: Iterable[Sequence[Any]],
    totals: Iterable[tuple[str, int, int]],
) -> None:
    """Store what a run is made of: its neurons, its shards, and what each stage adds up to.

    Neurons are (layer, neuron, is_ablated), shards (stage, step, layer, start, stop, weight,
    state), totals (stage, layer, total).
    """
    columns = ("run_id", "layer", "neuron", "is_ablated")
    upsert(connection, table(NeuronTable), columns, ((run_id, *neuron) for neuron in neurons))
    rows = [dict(zip(SHARD_COLUMNS, (run_id, *shard), strict=True)) for shard in shards]
    connection.execute(insert(ShardTable), rows)
    upsert(
        connection,
        table(ProgressTable),
        ("run_id", "stage", "layer", "total"),
        ((run_id, *total) for total in totals),
    )


def pause(connection: Connection, run_id: int, cause: str, reason: str) -> bool:
    """Pause a running run. The first reason stands. Return whether it was running."""
    statement = (
        update(RunTable)
        .where(RunTable.id == run_id, RunTable.state == "running")
        .values(state="paused", pause_cause=cause, pause_reason=reason)
    )
    return connection.execute(statement).rowcount == 1


def cancel(connection: Connection, run_id: int) -> bool:
    """End a run for good. Return whether it was not over yet."""
    statement = (
        update(RunTable)
        .where(RunTable.id == run_id, RunTable.state.in_(("running", "paused")))
        .values(state="cancelled", pause_cause=None, pause_reason=None, finished_at=func.now())
    )
    return connection.execute(statement).rowcount == 1


def is_running(connection: Connection, run_id: int) -> bool:
    """Return whether a run is there and not paused or done."""
    return connection.scalar(select(RunTable.state).where(RunTable.id == run_id)) == "running"


def resume(connection: Connection, run_id: int) -> None:
    """Let a run go on."""
    connection.execute(
        update(RunTable)
        .where(RunTable.id == run_id)
        .values(state="running", pause_cause=None, pause_reason=None, finished_at=None)
    )


def finish(connection: Connection, run_id: int) -> None:
    """Mark a run as done."""
    connection.execute(
        update(RunTable)
        .where(RunTable.id == run_id, RunTable.state == "running")
        .values(state="done", finished_at=func.now())
    )


def update_limits(connection: Connection, run_id: int, config: Mapping[str, Any]) -> None:
    """Take over a configuration that differs in what may change: limits, prices, timeouts."""
    connection.execute(update(RunTable).where(RunTable.id == run_id).values(config=config))


def set_budget(connection: Connection, run_id: int, usd: float | None) -> None:
    """Change what a run may spend, in USD; None is no limit."""
    connection.execute(update(RunTable).where(RunTable.id == run_id).values(budget_usd=usd))


def neurons_in(
    connection: Connection, run_id: int, layer: int, start: int = 0, stop: int = 2**31 - 1
) -> list[int]:
    """Return the run's neurons of a layer in a range, in order."""
    query = (
        select(NeuronTable.neuron)
        .where(NeuronTable.run_id == run_id, NeuronTable.layer == layer)
        .where(NeuronTable.neuron >= start, NeuronTable.neuron < stop)
        .order_by(NeuronTable.neuron)
    )
    return list(connection.scalars(query))


def ablated_in(connection: Connection, run_id: int, layer: int, start: int, stop: int) -> list[int]:
    """Return those neurons of a range that are to be ablated, in order."""
    query = (
        select(NeuronTable.neuron)
        .where(NeuronTable.run_id == run_id, NeuronTable.layer == layer, NeuronTable.is_ablated)
        .where(NeuronTable.neuron >= start, NeuronTable.neuron < stop)
        .order_by(NeuronTable.neuron)
    )
    return list(connection.scalars(query))


def layers_of(connection: Connection, run_id: int) -> list[int]:
    """Return the layers that the run is about, in order."""
    query = (
        select(NeuronTable.layer)
        .where(NeuronTable.run_id == run_id)
        .distinct()
        .order_by(NeuronTable.layer)
    )
    return list(connection.scalars(query))


def excerpts_between(connection: Connection, corpus_id: int, start: int, stop: int) -> IntArray:
    """Return the tokens, int32 (n, excerpt_tokens), of a range of excerpts, in order."""
    query = (
        select(ExcerptTable.tokens)
        .where(ExcerptTable.corpus_id == corpus_id)
        .where(ExcerptTable.excerpt >= start, ExcerptTable.excerpt < stop)
        .order_by(ExcerptTable.excerpt)
    )
    return np.stack([INT32.unpack(tokens) for tokens in connection.scalars(query)])


def excerpts_named(
    connection: Connection, corpus_id: int, numbers: Sequence[int]
) -> dict[int, IntArray]:
    """Return the tokens, int32 (n_tokens,), of these excerpts, by number."""
    query = select(ExcerptTable.excerpt, ExcerptTable.tokens).where(
        ExcerptTable.corpus_id == corpus_id, ExcerptTable.excerpt == func.any(list(numbers))
    )
    return {number: INT32.unpack(tokens) for number, tokens in connection.execute(query)}


def corpus(connection: Connection, corpus_id: int) -> RowMapping:
    """Return a corpus."""
    query = select(*CorpusTable.__table__.c).where(CorpusTable.id == corpus_id)
    return connection.execute(query).mappings().one()


def token_texts(connection: Connection, vocabulary_id: int) -> list[str]:
    """Return the text of every token of a vocabulary, by token."""
    query = (
        select(TokenTable.text)
        .where(TokenTable.vocabulary_id == vocabulary_id)
        .order_by(TokenTable.token)
    )
    return list(connection.scalars(query))


def schema_version(connection: Connection) -> str | None:
    """Return the migration that the database is at; None when it was never migrated."""
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def table(model: type[Base]) -> Any:
    """Return the table behind a mapped class, typed loosely as SQLAlchemy does."""
    return model.__table__
