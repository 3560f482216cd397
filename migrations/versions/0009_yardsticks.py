"""Baselines, connections, further scorers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0009"
down_revision = "0008"

SCORES = ("score", "score_top", "score_random", "rsquared", "absolute_dev_explained")

BASELINE_SUMMARY = """
    SELECT run.name AS run, baseline, layer, count(score) AS n,
           count(*) - count(score) AS undefined, avg(score) AS score,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY score) AS median_score,
           avg(score_top) AS score_top, avg(score_random) AS score_random
    FROM baseline_score JOIN run ON run.id = run_id GROUP BY 1, 2, 3
"""

SCORER_SUMMARY = """
    SELECT run.name AS run, scorer, layer, count(score) AS n,
           count(*) - count(score) AS undefined, avg(score) AS score, avg(auc) AS auc
    FROM scorer_result JOIN run ON run.id = run_id GROUP BY 1, 2, 3
"""


def upgrade() -> None:
    _create(
        "baseline_score",
        "baseline",
        "baseline IN ('lookup', 'token_list', 'weights')",
        *(sa.Column(name, sa.Double()) for name in SCORES),
        sa.Column("undefined_reason", sa.Text()),
    )
    _create(
        "related_neurons",
        "direction",
        "direction IN ('upstream', 'downstream')",
        sa.Column("layers", ARRAY(sa.SmallInteger()), nullable=False),
        sa.Column("neurons", ARRAY(sa.Integer()), nullable=False),
        sa.Column("weights", ARRAY(sa.REAL()), nullable=False),
    )
    _create(
        "related_tokens",
        "direction",
        "direction IN ('input', 'output')",
        sa.Column("tokens", ARRAY(sa.Integer()), nullable=False),
        sa.Column("weights", ARRAY(sa.REAL()), nullable=False),
    )
    _create(
        "scorer_result",
        "scorer",
        None,
        sa.Column("score", sa.Double()),
        sa.Column("auc", sa.Double()),
        sa.Column("n_positive", sa.SmallInteger(), nullable=False),
        sa.Column("n_negative", sa.SmallInteger(), nullable=False),
        sa.Column("undefined_reason", sa.Text()),
        sa.Column("call", sa.LargeBinary()),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
    )
    op.execute(f"CREATE VIEW baseline_summary AS {BASELINE_SUMMARY}")
    op.execute(f"CREATE VIEW scorer_summary AS {SCORER_SUMMARY}")


def _create(name: str, kind: str, known: str | None, *columns: sa.Column) -> None:
    """Create a table with a row for each neuron of a run and each `kind`."""
    check = known and [sa.CheckConstraint(known, name=op.f(f"ck_{name}_{kind}_is_known"))]
    op.create_table(
        name,
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("neuron", sa.Integer(), nullable=False),
        sa.Column(kind, sa.Text(), nullable=False),
        *columns,
        *(check or []),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f(f"fk_{name}_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "layer", "neuron", kind, name=op.f(f"pk_{name}")),
    )


def downgrade() -> None:
    op.execute("DROP VIEW scorer_summary, baseline_summary")
    for name in ("scorer_result", "related_tokens", "related_neurons", "baseline_score"):
        op.drop_table(name)
