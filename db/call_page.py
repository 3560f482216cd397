"""One call: what was answered, what it cost, and which neurons use the answer."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from db import calls
from db.calls import StoredCall

USES = 200  # that are named; sentences of a neuron share one call, and retries never do


class CallUse(NamedTuple):
    """A result that was read from a call; `excerpt` is that of a simulation or control."""

    run: str
    layer: int
    neuron: int
    result: str
    excerpt: int | None


@dataclass(frozen=True, slots=True)
class CallPage:
    """A call of the ledger, and what was read from its answer.

    `run` is the run that paid. If nothing was read from a call, it was refused, cut off, malformed,
    or made for a run that has other results by now.
    """

    run: str
    call: StoredCall
    created_at: datetime
    uses: list[CallUse]


_PAID = text("""
    SELECT run.name, call.created_at FROM call JOIN run ON run.id = call.run_id
    WHERE identity = :identity
""")
_USES = text("""
    SELECT run.name AS run, layer, neuron, result, excerpt FROM (
        SELECT run_id, layer, neuron, 'explanation' AS result, NULL::int AS excerpt
        FROM explanation WHERE call = :identity
        UNION ALL
        SELECT run_id, layer, neuron, 'simulation', excerpt FROM simulation WHERE call = :identity
        UNION ALL
        SELECT run_id, layer, neuron, 'candidate', NULL FROM candidate WHERE call = :identity
        UNION ALL
        SELECT run_id, layer, neuron, scorer, NULL FROM scorer_result WHERE call = :identity
        UNION ALL
        SELECT run_id, layer, neuron, 'control', excerpt FROM control_simulation
        WHERE call = :identity
        UNION ALL
        SELECT run_id, layer, neuron, 'sentences', NULL FROM sentence
        WHERE call = :identity AND number = 0
    ) AS uses JOIN run ON run.id = run_id ORDER BY run_id, layer, neuron, result, excerpt
    LIMIT :limit
""")


def call_page(connection: Connection, identity: bytes) -> CallPage | None:
    """Return a call by its identity; None if there is no answer to it."""
    found = calls.find(connection, [identity])
    if not found:
        return None
    run, created_at = connection.execute(_PAID, {"identity": identity}).one()
    uses = connection.execute(_USES, {"identity": identity, "limit": USES})
    return CallPage(run, found[0], created_at, [CallUse(*row) for row in uses])
