"""Calls that are tried again, which `status` shows while they are."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.create_table(
        "retried_calls",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name="fk_retried_calls_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "run_id", "process", "stage", "endpoint", "model", name="pk_retried_calls"
        ),
    )


def downgrade() -> None:
    op.drop_table("retried_calls")
