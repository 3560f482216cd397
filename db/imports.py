"""Runs that are being imported: invisible to every view until they are complete."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, text, update

from db import corpora, listed_neurons, runs
from db.corpora import NewCorpus
from db.datasets import STORED
from db.tables.origins import run_origin_table
from db.tables.runs import run_table


def create_corpus(connection: Connection, digest: str, source: str, excerpt_tokens: int) -> int:
    """Store an empty corpus with an empty vocabulary, for an import to fill; return its id."""
    corpus = NewCorpus(
        digest=digest,
        vocabulary_id=corpora.save_vocabulary(connection, digest, []),
        source=source,
        n_excerpts=0,
        excerpt_tokens=excerpt_tokens,
        n_documents=0,
        n_documents_too_short=0,
        n_windows=0,
    )
    return corpora.save_corpus(connection, corpus, [])


def save(connection: Connection, rows: Mapping[str, Sequence[Any]]) -> None:
    """Store rows of neurons, by the kinds of `db.datasets.STORED`."""
    for kind, of_kind in rows.items():
        STORED[kind].save(connection, of_kind)


def finish(connection: Connection, run_id: int) -> None:
    """Make a run of what was imported: with neurons, counters, and a corpus of known size."""
    values = {"run": run_id}
    connection.execute(_NEURONS, values)
    listed_neurons.renew(connection, run_id, runs.layers_of(connection, run_id))
    connection.execute(_PROGRESS, values)
    connection.execute(_CORPUS, values)
    connection.execute(_VOCABULARY, values)
    connection.execute(
        update(run_table)
        .where(run_table.c.id == run_id)
        .values(state="done", finished_at=func.now())
    )


_NEURONS = text("""
    INSERT INTO neuron (run_id, layer, neuron)
    SELECT run_id, layer, neuron FROM neuron_records WHERE run_id = :run
    ON CONFLICT DO NOTHING
""")

_PROGRESS = text("""
    INSERT INTO progress (run_id, stage, layer, total, done, last_result_at)
    SELECT run_id, stage, layer, count(*), count(*), now()
    FROM neuron, unnest(ARRAY['explain', 'simulate', 'score']) AS stage
    WHERE run_id = :run GROUP BY run_id, stage, layer
""")

_CORPUS = text("""
    UPDATE corpus SET n_excerpts = (SELECT count(*) FROM excerpt WHERE corpus_id = corpus.id)
    FROM run WHERE run.id = :run AND corpus.id = run.corpus_id
""")

_VOCABULARY = text("""
    UPDATE vocabulary
    SET n_tokens = (SELECT count(*) FROM token WHERE vocabulary_id = vocabulary.id)
    FROM run JOIN corpus ON corpus.id = run.corpus_id
    WHERE run.id = :run AND vocabulary.id = corpus.vocabulary_id
""")


def save_origin(
    connection: Connection,
    run_id: int,
    source: str,
    activation_function: str,
    from_run: int | None = None,
) -> None:
    """Store where a run has its records from: a dataset, or the run `from_run`."""
    values = {"source": source, "activation_function": activation_function, "from_run": from_run}
    connection.execute(insert(run_origin_table).values(run_id=run_id, **values))


def copy(connection: Connection, base: int, run_id: int, *, explanations: bool) -> None:
    """Copy records and connections of a run's neurons to another run that has some of them.

    Explanations are copied without their calls, which the other run has paid for.
    """
    copied = [*_COPIED, *([("explanations", ("call", "created_at"))] if explanations else [])]
    for kind, left_out in copied:
        table = STORED[kind].table
        names = [c.name for c in table.c if c.name not in ("run_id", *left_out)]
        columns = ", ".join(names)
        stored = ", ".join(f"stored.{name}" for name in names)
        statement = text(f"""
            INSERT INTO {table.name} (run_id, {columns})
            SELECT neuron.run_id, {stored} FROM {table.name} AS stored JOIN neuron
                ON neuron.layer = stored.layer AND neuron.neuron = stored.neuron
            WHERE stored.run_id = :base AND neuron.run_id = :run
        """)  # noqa: S608  (names of our own tables)
        connection.execute(statement, {"base": base, "run": run_id})
    listed_neurons.renew(connection, run_id, runs.layers_of(connection, run_id))


_COPIED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("records", ()),
    ("token_means", ()),
    ("related_neurons", ()),
    ("related_tokens", ()),
)


def discard(connection: Connection, run_id: int) -> None:
    """Delete a run that is being imported, with its corpus and vocabulary."""
    corpus_id = runs.get(connection, run_id).corpus_id
    # The state is part of the condition: a run that was finished meanwhile stays.
    connection.execute(
        delete(run_table).where(run_table.c.id == run_id, run_table.c.state == "importing")
    )
    corpora.delete_unused(connection, corpus_id)
