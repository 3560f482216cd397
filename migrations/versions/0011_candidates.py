"""Stages that a run has if it asks for them: candidates, sentences, calibration, ablation."""

import sqlalchemy as sa
from alembic import context, op

revision = "0011"
down_revision = "0010"

ADDED = "('choose', 'illustrate', 'observe', 'revise', 'ablate')"
ORDER_BEFORE = "ARRAY['collect', 'explain', 'simulate', 'score']"
ORDER = (
    "ARRAY['collect', 'explain', 'choose', 'illustrate', 'observe', 'revise', 'simulate', "
    "'score', 'ablate']"
)
SCORES = ("score", "score_top", "score_random", "rsquared", "absolute_dev_explained")
DIVERGENCES = ("divergence_simulated", "divergence_mean")


def upgrade() -> None:
    op.add_column(
        "neuron", sa.Column("is_ablated", sa.Boolean(), server_default="false", nullable=False)
    )
    _create(
        "candidate",
        {"number": sa.SmallInteger()},
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("explainer", sa.Text(), nullable=False),
        sa.Column("call", sa.LargeBinary()),
    )
    _create(
        "candidate_score",
        {"stage": sa.Text(), "number": sa.SmallInteger()},
        *_optional(sa.Double(), "score"),
        *_optional(sa.Text(), "undefined_reason"),
        _known("candidate_score", "stage", "('choose', 'revise')"),
    )
    _create(
        "sentence",
        {"number": sa.SmallInteger()},
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("is_expected", sa.Boolean(), nullable=False),
        sa.Column("for_judging", sa.Boolean(), nullable=False),
        *_optional(sa.LargeBinary(), "call", "tokens", "activations"),
    )
    _create(
        "calibrated_score",
        {"calibration": sa.Text()},
        *_optional(sa.Double(), *SCORES),
        *_optional(sa.Text(), "undefined_reason"),
        *_optional(sa.Double(), "slope", "intercept"),
        _known("calibrated_score", "calibration", "('linear', 'percentile')"),
    )
    _create(
        "ablation",
        {},
        *_optional(sa.Double(), "score", *DIVERGENCES),
        *_optional(sa.Text(), "undefined_reason"),
    )
    _order_stages_by(ORDER)


def _create(name: str, keys: dict[str, sa.types.TypeEngine], *parts: sa.schema.SchemaItem) -> None:
    """Create a table with rows for each neuron of a run."""
    neuron = {"run_id": sa.Integer(), "layer": sa.SmallInteger(), "neuron": sa.Integer()}
    op.create_table(
        name,
        *(sa.Column(key, kind, nullable=False) for key, kind in (neuron | keys).items()),
        *parts,
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f(f"fk_{name}_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(*neuron, *keys, name=op.f(f"pk_{name}")),
    )


def _optional(kind: sa.types.TypeEngine, *names: str) -> list[sa.Column]:
    return [sa.Column(name, kind) for name in names]


def _known(table: str, column: str, values: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} IN {values}", name=op.f(f"ck_{table}_{column}_is_known"))


def _order_stages_by(order: str) -> None:
    query = context.script.get_revision("0002").module.VIEWS["run_progress"]
    op.execute(f"CREATE OR REPLACE VIEW run_progress AS {query.replace(ORDER_BEFORE, order)}")


def downgrade() -> None:
    _order_stages_by(ORDER_BEFORE)
    for table in ("ablation", "calibrated_score", "sentence", "candidate_score", "candidate"):
        op.drop_table(table)
    op.drop_column("neuron", "is_ablated")
    for table in ("shard", "progress", "throughput", "failure", "retry"):
        op.execute(f"DELETE FROM {table} WHERE stage IN {ADDED}")  # noqa: S608  (constants)
