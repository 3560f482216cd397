"""Texts that people ask about: which neurons answer to them."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Named,
    Table,
    Text,
    TypedColumns,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from db.tables.base import METADATA, TIMESTAMPTZ


class TextRequestColumns(TypedColumns):
    """A text whose next token a worker is to explain by the neurons of a run.

    `target` is the token, by default the likeliest; `versus` the one that it is held against.
    `ablate` is a list of [layer, neuron, position], where position null is all of them. `token`
    rises with every claim, as that of a shard does. A failed one has an `error_class`.
    """

    id: Named[int] = Column(BigInteger, Identity(), primary_key=True)
    run_id: Named[int] = Column(ForeignKey("run.id", ondelete="CASCADE"))
    text: Named[str] = Column(Text)
    target: Named[str | None] = Column(Text)
    versus: Named[str | None] = Column(Text)
    baseline: Named[str] = Column(Text, server_default="mean")
    ablate: Named[Any] = Column(JSONB, server_default="[]", nullable=False)
    requested_by: Named[str] = Column(Text, server_default="")
    state: Named[str] = Column(Text, server_default="waiting")
    error_class: Named[str | None] = Column(Text)
    message: Named[str | None] = Column(Text)
    created_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())
    started_at: Named[datetime | None] = Column(TIMESTAMPTZ)
    finished_at: Named[datetime | None] = Column(TIMESTAMPTZ)
    attempts: Named[int] = Column(server_default="0")
    token: Named[int] = Column(server_default="0")
    lease_until: Named[datetime | None] = Column(TIMESTAMPTZ)
    worker: Named[str | None] = Column(Text)


text_request_table = Table(
    "text_request",
    METADATA,
    TextRequestColumns,
    CheckConstraint("state IN ('waiting', 'running', 'done', 'failed')", name="state_is_known"),
    CheckConstraint("baseline IN ('zero', 'mean')", name="baseline_is_known"),
    # What a submission checks with better words; these hold for whoever may insert.
    CheckConstraint(
        "length(text) BETWEEN 1 AND 20000 AND length(target) <= 200 AND length(versus) <= 200 "
        "AND length(requested_by) <= 100",
        name="texts_are_bounded",
    ),
    CheckConstraint(
        "jsonb_typeof(ablate) = 'array' AND jsonb_array_length(ablate) <= 1000",
        name="ablate_is_bounded",
    ),
    Index(
        # Idle workers look for open requests every second.
        "ix_text_request_open",
        "id",
        postgresql_where=text("state IN ('waiting', 'running')"),
    ),
    Index("ix_text_request_run_id_id", "run_id", "id"),
    # For the limit by the minute of each requester.
    Index("ix_text_request_requested_by_created_at", "requested_by", "created_at"),
)


class TextResultColumns(TypedColumns):
    """What a worker found about a text: sums, and the largest components.

    `activations` is float16 (n_neurons, n_tokens), a row for each of the neurons in `result`.
    """

    request_id: Named[int] = Column(
        BigInteger, ForeignKey("text_request.id", ondelete="CASCADE"), primary_key=True
    )
    result: Named[dict[str, Any]] = Column(JSONB)
    activations: Named[bytes]


text_result_table = Table("text_result", METADATA, TextResultColumns)
