"""Queries for `verify`, streamed: rows that refer to rows which do not exist."""

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
)
"""Those of OF_NEURONS whose rows name a call."""


class Stray(NamedTuple):
    """A neuron that has rows but is not in the run."""

    layer: int
    neuron: int


def strays(connection: Connection, run_id: int, table: str) -> Iterator[Stray]:
    """Yield the neurons that have rows in a table, one of OF_NEURONS, but are not in the run."""
    # A table cannot be a parameter of a query: only names of ours are put into it.
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
    """The identity of a call that is not stored, and the neuron whose row names it."""

    layer: int
    neuron: int
    call: bytes


def lost_calls(connection: Connection, run_id: int, table: str) -> Iterator[LostCall]:
    """Yield the calls that rows of a table, one of WITH_CALLS, name but that are not stored."""
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

    Bytes that are not whole tokens are read as none: `verify` then finds the excerpt too short.
    """
    query = "SELECT excerpt, tokens FROM excerpt WHERE corpus_id = :corpus ORDER BY excerpt"
    for row in streamed(connection, query, {"corpus": corpus_id}):
        is_whole = len(row["tokens"]) % 4 == 0
        yield row["excerpt"], INT32.unpack(row["tokens"] if is_whole else b"")


def n_neurons(connection: Connection, run_id: int) -> int:
    """Return how many neurons a run is about."""
    query = text("SELECT count(*) FROM neuron WHERE run_id = :run")
    return int(connection.execute(query, {"run": run_id}).scalar_one())
