"""Flags and notes on neurons."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0019"


def upgrade() -> None:
    op.create_table(
        "neuron_note",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("neuron", sa.Integer(), nullable=False),
        sa.Column("flag", sa.Text()),
        sa.Column("text", sa.Text(), server_default="", nullable=False),
        sa.Column("author", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.CheckConstraint(
            "flag IN ('right', 'wrong', 'unclear', 'interesting')",
            name=op.f("ck_neuron_note_flag_is_known"),
        ),
        sa.CheckConstraint(
            "length(text) <= 2000 AND length(author) <= 100 AND (flag IS NOT NULL OR text <> '')",
            name=op.f("ck_neuron_note_texts_are_bounded"),
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_neuron_note_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_neuron_note")),
    )
    op.create_index(
        "ix_neuron_note_run_id_layer_neuron_id", "neuron_note", ["run_id", "layer", "neuron", "id"]
    )
    op.create_index("ix_neuron_note_created_at", "neuron_note", ["created_at"])


def downgrade() -> None:
    op.drop_table("neuron_note")
