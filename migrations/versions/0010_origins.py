"""Runs that were imported, or that take their records from another run.

What is published does not always have moments, and never says over how many tokens they are.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0010"
down_revision = "0009"

UNKNOWN = (
    ("neuron_records", "mean"),
    ("neuron_records", "variance"),
    ("neuron_records", "n_tokens"),
    ("token_means", "default_mean"),
)
STATES = ("running", "paused", "done", "cancelled")


def upgrade() -> None:
    op.create_table(
        "run_origin",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("from_run", sa.Integer()),
        sa.Column("activation_function", sa.Text(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        _to_run("run_origin", "run_id", "CASCADE"),
        _to_run("run_origin", "from_run", "SET NULL"),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_origin")),
    )
    op.create_table(
        "imported_neuron",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("neuron", sa.Integer(), nullable=False),
        sa.Column("published_score", sa.Double()),
        sa.Column("scored_excerpts", ARRAY(sa.Integer())),
        sa.Column("n_top", sa.SmallInteger()),
        _to_run("imported_neuron", "run_id", "CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "layer", "neuron", name=op.f("pk_imported_neuron")),
    )
    for table, column in UNKNOWN:
        op.alter_column(table, column, nullable=True)
    _allow((*STATES, "importing"))


def _to_run(table: str, column: str, on_delete: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], ["run.id"], name=op.f(f"fk_{table}_{column}"), ondelete=on_delete
    )


def _allow(states: tuple[str, ...]) -> None:
    op.drop_constraint(op.f("ck_run_state_is_known"), "run")
    op.create_check_constraint(op.f("ck_run_state_is_known"), "run", f"state IN {states}")


def downgrade() -> None:
    op.execute("DELETE FROM run WHERE id IN (SELECT run_id FROM run_origin)")
    _allow(STATES)
    for table, column in UNKNOWN:
        op.alter_column(table, column, nullable=False)
    op.drop_table("imported_neuron")
    op.drop_table("run_origin")
