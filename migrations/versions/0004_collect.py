"""Parts of collect that merge, and smaller records.

What a run left that is being collected cannot be carried over: such a run has to be made anew.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0004"
down_revision = "0003"

PLACES = ("top_records", "random_records", "bucket_records", "buckets")


def upgrade() -> None:
    op.drop_table("collect_part")
    op.drop_table("collect_bound")
    _create("collect_part", True, "kept_columns", "kept_excerpts", "kept_activations", "blocks",
            "moments", "nonfinite")  # fmt: skip
    _create("collect_maxima", True, "maxima")
    _create("collect_bound", False, "boundaries", "bars")
    for column in PLACES:
        op.alter_column("neuron_records", column, type_=ARRAY(sa.SmallInteger()))
    op.execute("ALTER TABLE neuron_records ALTER activations SET STORAGE EXTERNAL")


def _create(name: str, by_start: bool, *columns: str) -> None:
    key = ["run_id", "layer", *(["start"] if by_start else [])]
    op.create_table(
        name,
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        *([sa.Column("start", sa.Integer(), nullable=False)] if by_start else []),
        *(sa.Column(column, sa.LargeBinary(), nullable=False) for column in columns),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f(f"fk_{name}_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{name}")),
    )
    for column in columns:  # arrays of numbers do not compress; trying to takes time
        op.execute(f"ALTER TABLE {name} ALTER {column} SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.execute("ALTER TABLE neuron_records ALTER activations SET STORAGE EXTENDED")
    for column in PLACES:
        op.alter_column("neuron_records", column, type_=ARRAY(sa.Integer()))
    for name in ("collect_bound", "collect_maxima", "collect_part"):
        op.drop_table(name)
    op.create_table(
        "collect_part",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("n_tokens", sa.BigInteger(), nullable=False),
        sa.Column("sums", sa.LargeBinary(), nullable=False),
        sa.Column("maxima", sa.LargeBinary(), nullable=True),
        *(
            sa.Column(column, sa.LargeBinary(), nullable=False)
            for column in ("nonfinite", "kept_neurons", "kept_excerpts", "kept_activations")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_collect_part_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "layer", "start", name=op.f("pk_collect_part")),
    )
    op.create_table(
        "collect_bound",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("boundaries", sa.LargeBinary(), nullable=True),
        sa.Column("top_keys", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_collect_bound_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "layer", name=op.f("pk_collect_bound")),
    )
