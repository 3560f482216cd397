"""Queries of exports and imports about a whole run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, func, select, text

from db.candidates import candidate_scores, candidates, sentences
from db.codec import INT32
from db.connections import related_neurons, related_tokens
from db.control_scores import control_scores, control_simulations
from db.evaluations import ablations, baseline_scores, calibrated_scores, scorer_results
from db.imported_neurons import imported_neurons
from db.notes import notes
from db.records import neuron_records, token_means
from db.results import explanations, scores, simulations
from db.rows import NeuronRows
from db.tables.corpus import excerpt_table
from db.tables.origins import run_origin_table
from db.tables.records import neuron_records_table
from neurogloss.neurons.records import IntArray

EXCERPTS_AT_ONCE = 1024  # that a cursor fetches

STORED: Mapping[str, NeuronRows[Any]] = {
    "records": neuron_records,
    "explanations": explanations,
    "simulations": simulations,
    "scores": scores,
    "token_means": token_means,
    "related_neurons": related_neurons,
    "related_tokens": related_tokens,
    "baseline_scores": baseline_scores,
    "imported": imported_neurons,
    "calibrated_scores": calibrated_scores,
    "scorers": scorer_results,
    "ablations": ablations,
    "controls": control_scores,
    "control_simulations": control_simulations,
    "candidates": candidates,
    "candidate_scores": candidate_scores,
    "sentences": sentences,
    "notes": notes,
}
"""The tables of neurons by the names under which an export remembers how many rows they had."""


@dataclass(frozen=True, slots=True)
class StoredExcerpt:
    """An excerpt: its document, the position of its first token there, tokens int32 (n_tokens,)."""

    excerpt: int
    document: str
    position: int
    tokens: IntArray


def stream_excerpts(connection: Connection, corpus_id: int) -> Iterator[StoredExcerpt]:
    """Yield the excerpts of a corpus, in order, from a cursor that the server keeps."""
    columns = excerpt_table.c
    query = (
        select(columns.excerpt, columns.document, columns.position, columns.tokens)
        .where(columns.corpus_id == corpus_id)
        .order_by(columns.excerpt)
    )
    options = {"yield_per": EXCERPTS_AT_ONCE}
    for number, document, position, tokens in connection.execute(query, execution_options=options):
        yield StoredExcerpt(number, document, position, INT32.unpack(tokens))


def counts(connection: Connection, run_id: int) -> dict[str, int]:
    """Return how many rows of each kind a run has."""
    counted = {}
    for kind, neurons in STORED.items():
        query = select(func.count()).where(neurons.table.c.run_id == run_id)
        counted[kind] = int(connection.scalar(query) or 0)
    return counted


def neurons_by_layer(connection: Connection, run_id: int) -> dict[int, int]:
    """Return how many neurons with records each layer has."""
    layer = neuron_records_table.c.layer
    query = select(layer, func.count()).where(neuron_records_table.c.run_id == run_id)
    return {number: n for number, n in connection.execute(query.group_by(layer).order_by(layer))}


def neurons_with_records(connection: Connection, run_id: int, layer: int) -> list[int]:
    """Return the neurons of a layer that have records, in order."""
    columns = neuron_records_table.c
    query = select(columns.neuron).where(columns.run_id == run_id, columns.layer == layer)
    return list(connection.scalars(query.order_by(columns.neuron)))


@dataclass(frozen=True, slots=True)
class RunOrigin:
    """The origin of a run's records; see `db.tables.origins.RunOriginColumns`."""

    source: str
    from_run: int | None
    activation_function: str


def origin(connection: Connection, run_id: int) -> RunOrigin | None:
    """Return the origin of a run's records; None where it collected them itself."""
    columns = (run_origin_table.c[field.name] for field in fields(RunOrigin))
    row = connection.execute(select(*columns).where(run_origin_table.c.run_id == run_id)).first()
    return None if row is None else RunOrigin(*row)


def is_imported(connection: Connection, run_id: int) -> bool:
    """Return whether a run was imported: it has an origin, and no shards."""
    # A run that took its records from another run has an origin as well, but it has shards.
    query = text("""
        SELECT EXISTS (SELECT FROM run_origin WHERE run_id = :run)
           AND NOT EXISTS (SELECT FROM shard WHERE run_id = :run)
    """)
    return bool(connection.execute(query, {"run": run_id}).scalar_one())


def undefined_reasons(connection: Connection, run_id: int) -> dict[str, int]:
    """Return how many neurons have no score, by reason."""
    query = text("""
        SELECT undefined_reason, count(*) FROM score
        WHERE run_id = :run AND score IS NULL GROUP BY 1 ORDER BY 1
    """)
    rows = connection.execute(query, {"run": run_id})
    return {str(reason): n for reason, n in rows}
