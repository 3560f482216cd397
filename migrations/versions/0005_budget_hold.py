"""What worker processes have set aside of a run's budget."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "budget_hold",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("usd", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name="fk_budget_hold_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "process", name="pk_budget_hold"),
    )


def downgrade() -> None:
    op.drop_table("budget_hold")
