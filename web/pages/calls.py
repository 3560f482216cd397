"""A call: what was asked for and answered, what it cost, and which neurons use it."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from db.call_page import CallUse, call_page
from db.calls import StoredCall
from web.errors import NotFound
from web.faces import page
from web.reading import Reading, RunOf, settings_of

router = APIRouter()
Identity = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class CallValue:
    """A call of the ledger; see `db.tables.calls.CallColumns`.

    `paid_by` is the run that paid. `has_distributions` says that log probabilities are kept of the
    answer, which the neuron's page shows of the tokens. `sent` is the body of the request, made
    again from what is stored; None where that cannot be.
    """

    run: str
    paid_by: str
    identity: str
    purpose: str
    endpoint: str
    model: str
    text: str
    finish_reason: str | None
    refusal: str | None
    has_distributions: bool
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    usd: float
    wasted_usd: float
    attempts: int
    latency_ms: int
    request_id: str | None
    created_at: datetime
    uses: list[CallUse]
    sent: dict[str, Any] | None


_SHARED = {field.name for field in fields(StoredCall)} & {f.name for f in fields(CallValue)}


@page(router, "/runs/{run}/calls/{identity}", "call.html", CallValue)
def call(request: Request, connection: Reading, run: RunOf, identity: Identity) -> CallValue:
    """Return a call by its identity."""
    found = call_page(connection, bytes.fromhex(identity))
    # One run pays for a call, and several may use its answer: all of them show it, no other does.
    if found is None or run.name not in {found.run, *(use.run for use in found.uses)}:
        raise NotFound(
            f"Run {run.name} has no answer to this call.",
            "It failed, or its answer was stored by another run; the page of a neuron has its own.",
        )
    stored = {name: getattr(found.call, name) for name in _SHARED - {"identity"}}
    find = settings_of(request).sent_body
    sent = None
    if find is not None and found.uses:
        sent = find(connection, bytes.fromhex(identity), found.uses[0])
    return CallValue(
        **stored,
        run=run.name,
        paid_by=found.run,
        identity=identity,
        has_distributions=found.call.distributions is not None,
        created_at=found.created_at,
        uses=found.uses,
        sent=sent,
    )
