"""Calls by the minute, which charts of limits and metrics read."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0018"


def upgrade() -> None:
    op.create_table(
        "call_minute",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("usd", sa.Double(), nullable=False),
        sa.Column("latency_ms", sa.BigInteger(), nullable=False),
        sa.Column("latency_counts", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name="fk_call_minute_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "run_id", "minute", "stage", "endpoint", "model", "outcome", name="pk_call_minute"
        ),
        postgresql_with={"fillfactor": "70"},  # its newest rows change with every answer
    )


def downgrade() -> None:
    op.drop_table("call_minute")
