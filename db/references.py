"""Rows that refer to what is not there: queries for `verify`, streamed."""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, text

from db.codec import INT32
from db.session import streamed
from neurogloss.neurons.records import IntArray

OF_NEURONS = (
    "neuron_records",
    "token_means",
    "explanation",
    "simulation",
    "score",
    "failure",
    "retry",
    "imported_neuron",
    "candidate",
    "candidate_score",
    "sentence",
    "calibrated_score",
    "ablation",
    "control_score",
    "control_simulation",
)


WITH_CALLS = (
    "explanation",
    "simulation",
    "candidate",
    "sentence",
    "control_simulation",
)  # of these


class Stray(NamedTuple):
    """A neuron that is not in the run, of which there are rows."""

    layer: int
    neuron: int


def strays(connection: Connection, run_id: int, table: str) -> Iterator[Stray]:
    """Yield the neurons that are not in the run, of which one of OF_NEURONS has rows."""
    if table not in OF_NEURONS:
        raise ValueError(table)
    query = f"""
        SELECT DISTINCT layer, neuron FROM {table} AS found WHERE run_id = :run AND NOT EXISTS (
            SELECT FROM neuron WHERE neuron.run_id = found.run_id AND neuron.layer = found.layer
                                 AND neuron.neuron = found.neuron)
        ORDER BY layer, neuron
    """  # noqa: S608  (one of our own tables)
    for row in streamed(connection, query, {"run": run_id}):
        yield Stray(row["layer"], row["neuron"])


class LostCall(NamedTuple):
    """The identity of a call that a row of a neuron names, and that is not stored."""

    layer: int
    neuron: int
    call: bytes


def lost_calls(connection: Connection, run_id: int, table: str) -> Iterator[LostCall]:
    """Yield the calls that rows of one of WITH_CALLS name, and that are not stored."""
    if table not in WITH_CALLS:
        raise ValueError(table)
    query = f"""
        SELECT layer, neuron, call FROM {table} AS found
        WHERE run_id = :run AND call IS NOT NULL
          AND NOT EXISTS (SELECT FROM call WHERE call.identity = found.call)
        ORDER BY layer, neuron
    """  # noqa: S608  (one of our own tables)
    for row in streamed(connection, query, {"run": run_id}):
        yield LostCall(row["layer"], row["neuron"], bytes(row["call"]))


def excerpts(connection: Connection, corpus_id: int) -> Iterator[tuple[int, IntArray]]:
    """Yield (excerpt, tokens int32 (n_tokens,)) of a corpus, in order.

    Of bytes that are not whole tokens there are none: such an excerpt is too short in any case.
    """
    query = "SELECT excerpt, tokens FROM excerpt WHERE corpus_id = :corpus ORDER BY excerpt"
    for row in streamed(connection, query, {"corpus": corpus_id}):
        is_whole = len(row["tokens"]) % 4 == 0
        yield row["excerpt"], INT32.unpack(row["tokens"] if is_whole else b"")


def n_neurons(connection: Connection, run_id: int) -> int:
    """Return how many neurons a run is about."""
    query = text("SELECT count(*) FROM neuron WHERE run_id = :run")
    return int(connection.execute(query, {"run": run_id}).scalar_one())
