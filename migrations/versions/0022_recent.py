"""Indexes for what came last, for failures by class, and for which results use a call."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"

CALLED = {"explanation": None, "simulation": None, "candidate": None, "scorer_result": None,
          "sentence": "number = 0"}  # fmt: skip


def upgrade() -> None:
    op.create_index("ix_score_recent", "score", ["run_id", "created_at"])
    columns = ["run_id", "stage", "failure_class", "failed_at"]
    op.create_index("ix_failure_class", "failure", columns)
    for table, condition in CALLED.items():
        op.create_index(
            f"ix_{table}_call",
            table,
            ["call"],
            postgresql_using="hash",
            postgresql_where=None if condition is None else sa.text(condition),
        )


def downgrade() -> None:
    for table in CALLED:
        op.drop_index(f"ix_{table}_call", table_name=table)
    op.drop_index("ix_failure_class", table_name="failure")
    op.drop_index("ix_score_recent", table_name="score")
