"""Questions that are asked in batches, and the shards that wait for their answers."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "batch",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="building", nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("file_id", sa.Text(), nullable=True),
        sa.Column("batch_id", sa.Text(), nullable=True),
        sa.Column("n_requests", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("enqueued_tokens", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('building', 'uploaded', 'submitted', 'ended')",
            name="ck_batch_state_is_known",
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_batch_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_batch"),
        sa.UniqueConstraint("mark", name="uq_batch_mark"),
    )
    op.create_index("ix_batch_run_id", "batch", ["run_id"])
    op.create_table(
        "batch_request",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("identity", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("max_completion_tokens", sa.Integer(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failure_class", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name="fk_batch_request_run_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["batch"], ["batch.id"], name="fk_batch_request_batch"),
        sa.PrimaryKeyConstraint("run_id", "identity", name="pk_batch_request"),
    )
    op.create_index("ix_batch_request_batch", "batch_request", ["batch"])
    op.create_index(
        "ix_batch_request_pending",
        "batch_request",
        ["run_id", "endpoint", "model", "path", "created_at"],
        postgresql_where=sa.text("batch IS NULL AND failure_class IS NULL"),
    )
    op.create_table(
        "batch_wait",
        sa.Column("shard_id", sa.BigInteger(), nullable=False),
        sa.Column("identity", sa.LargeBinary(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["shard_id"], ["shard.id"], name="fk_batch_wait_shard_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name="fk_batch_wait_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("shard_id", "identity", name="pk_batch_wait"),
    )
    op.create_index("ix_batch_wait_run_id_identity", "batch_wait", ["run_id", "identity"])
    op.add_column("shard", sa.Column("asked", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("run", sa.Column("batches_due_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("run", "batches_due_at")
    op.drop_column("shard", "asked")
    op.drop_table("batch_wait")
    op.drop_table("batch_request")
    op.drop_table("batch")
