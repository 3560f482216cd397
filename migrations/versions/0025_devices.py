"""The kinds of device that a run's activations were computed on."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.create_table(
        "run_device",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column(
            "first_used_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.now(),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_run_device_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "device", name=op.f("pk_run_device")),
    )


def downgrade() -> None:
    op.drop_table("run_device")
