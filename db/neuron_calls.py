"""The calls that a neuron was explained, simulated and classified with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection, func, select

from db.neuron import StoredNeuron
from db.tables.calls import call_table


@dataclass(frozen=True, slots=True)
class NeuronCall:
    """A call without its text; see `db.tables.calls.CallColumns`."""

    identity: bytes
    run_id: int
    purpose: str
    endpoint: str
    model: str
    finish_reason: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    usd: float
    wasted_usd: float
    attempts: int
    latency_ms: int
    request_id: str | None
    created_at: datetime


def identities_of(stored: StoredNeuron) -> Iterator[bytes]:
    """Yield the identities of the calls that rows of a neuron name, the same one perhaps again."""
    rows: tuple[_Called, ...] = (
        *([stored.explanation] if stored.explanation else []),
        *stored.candidates,
        *stored.sentences,
        *stored.simulations.values(),
        *stored.scorers.values(),
        *stored.control_simulations.values(),
    )
    for row in rows:
        if row.call is not None:
            yield bytes(row.call)


class _Called(Protocol):
    @property
    def call(self) -> bytes | None: ...


def calls_of(connection: Connection, identities: Sequence[bytes]) -> list[NeuronCall]:
    """Return the calls of these identities that are in the ledger, the earliest first."""
    columns = (call_table.c[field.name] for field in fields(NeuronCall))
    query = (
        select(*columns)
        .where(call_table.c.identity == func.any(sorted(set(identities))))
        .order_by(call_table.c.created_at, call_table.c.identity)
    )
    return [NeuronCall(bytes(identity), *rest) for identity, *rest in connection.execute(query)]
