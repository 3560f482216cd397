"""Runs that were cancelled, and answers that were paid for twice."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

STATES = "state IN ('running', 'paused', 'done'{})"


def upgrade() -> None:
    op.drop_constraint(op.f("ck_run_state_is_known"), "run", type_="check")
    states = STATES.format(", 'cancelled'")
    op.create_check_constraint(op.f("ck_run_state_is_known"), "run", states)
    op.create_table(
        "repeated_call",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("identity", sa.LargeBinary(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("latency_ms", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("cached_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("wasted_usd", sa.Double(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name="fk_repeated_call_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "run_id", "identity", "request_id", "attempts", "latency_ms", name="pk_repeated_call"
        ),
    )


def downgrade() -> None:
    op.drop_table("repeated_call")
    op.execute("UPDATE run SET state = 'paused', pause_cause = 'person' WHERE state = 'cancelled'")
    op.drop_constraint(op.f("ck_run_state_is_known"), "run", type_="check")
    op.create_check_constraint(op.f("ck_run_state_is_known"), "run", STATES.format(""))
