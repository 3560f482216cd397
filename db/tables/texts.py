"""Texts that people ask about: which neurons answer to them."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base


class TextRequestTable(Base):
    """A text whose next token a worker is to explain by the neurons of a run.

    `target` is the token, by default the likeliest; `versus` the one that it is held against.
    `ablate` is a list of [layer, neuron, position], where position null is all of them. `token`
    rises with every claim, as that of a shard does. A failed one has an `error_class`.
    """

    __tablename__ = "text_request"
    __table_args__ = (
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

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    text: Mapped[str]
    target: Mapped[str | None]
    versus: Mapped[str | None]
    baseline: Mapped[str] = mapped_column(server_default="mean")
    ablate: Mapped[Any] = mapped_column(JSONB, server_default="[]", nullable=False)
    requested_by: Mapped[str] = mapped_column(server_default="")
    state: Mapped[str] = mapped_column(server_default="waiting")
    error_class: Mapped[str | None]
    message: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    token: Mapped[int] = mapped_column(server_default="0")
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None]


class TextResultTable(Base):
    """What a worker found about a text: sums, and the largest components.

    `activations` is float16 (n_neurons, n_tokens), a row for each of the neurons in `result`.
    """

    __tablename__ = "text_result"

    request_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("text_request.id", ondelete="CASCADE"), primary_key=True
    )
    result: Mapped[dict[str, Any]]
    activations: Mapped[bytes]
