"""Texts that people ask about, and what workers find about them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "text_request",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("target", sa.Text()),
        sa.Column("versus", sa.Text()),
        sa.Column("baseline", sa.Text(), server_default="mean", nullable=False),
        sa.Column("ablate", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("requested_by", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("error_class", sa.Text()),
        sa.Column("message", sa.Text()),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("token", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("worker", sa.Text()),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'done', 'failed')",
            name=op.f("ck_text_request_state_is_known"),
        ),
        sa.CheckConstraint(
            "baseline IN ('zero', 'mean')", name=op.f("ck_text_request_baseline_is_known")
        ),
        sa.CheckConstraint(
            "length(text) BETWEEN 1 AND 20000 AND length(target) <= 200 AND length(versus) <= 200 "
            "AND length(requested_by) <= 100",
            name=op.f("ck_text_request_texts_are_bounded"),
        ),
        sa.CheckConstraint(
            "jsonb_typeof(ablate) = 'array' AND jsonb_array_length(ablate) <= 1000",
            name=op.f("ck_text_request_ablate_is_bounded"),
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_text_request_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_text_request")),
    )
    op.create_index(
        "ix_text_request_open",
        "text_request",
        ["id"],
        postgresql_where=sa.text("state IN ('waiting', 'running')"),
    )
    op.create_index("ix_text_request_run_id_id", "text_request", ["run_id", "id"])
    op.create_index(
        "ix_text_request_requested_by_created_at", "text_request", ["requested_by", "created_at"]
    )
    op.create_table(
        "text_result",
        sa.Column("request_id", sa.BigInteger(), nullable=False),
        sa.Column("result", postgresql.JSONB(), nullable=False),
        sa.Column("activations", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["text_request.id"],
            name=op.f("fk_text_result_request_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_text_result")),
    )


def downgrade() -> None:
    op.drop_table("text_result")
    op.drop_table("text_request")
