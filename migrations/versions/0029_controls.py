"""Controls of scores: neurons that are simulated from the explanations of others."""

import sqlalchemy as sa
from alembic import context, op

revision = "0029"
down_revision = "0028"

ORDER = (
    "ARRAY['collect', 'explain', 'choose', 'illustrate', 'observe', 'revise', 'simulate', "
    "'score', 'ablate', 'control']"
)
SCORES = ("score", "score_top", "score_random", "rsquared", "absolute_dev_explained")
KEYS = ("run_id", "layer", "neuron")
CONTROL_SUMMARY = """
    WITH compared AS (
        SELECT run_id, score.score AS score, control_score.score AS control_score,
               score.score - control_score.score AS difference,
               coalesce(control_score.undefined_reason,
                        CASE WHEN score.score IS NULL THEN 'no_score' END) AS reason
        FROM control_score LEFT JOIN score USING (run_id, layer, neuron)),
    reasons AS (
        SELECT run_id, jsonb_object_agg(reason, n ORDER BY reason) AS undefined
        FROM (SELECT run_id, reason, count(*) AS n FROM compared WHERE reason IS NOT NULL
              GROUP BY 1, 2) AS counted GROUP BY 1)
    SELECT run.name AS run, count(*) AS neurons, count(difference) AS n,
           avg(score) FILTER (WHERE difference IS NOT NULL) AS score,
           avg(control_score) FILTER (WHERE difference IS NOT NULL) AS control_score,
           avg(difference) AS difference,
           stddev_samp(difference) / sqrt(count(difference)) AS standard_error,
           coalesce(undefined, '{}') AS undefined
    FROM compared JOIN run ON run.id = run_id LEFT JOIN reasons USING (run_id)
    GROUP BY run.name, undefined
"""


def upgrade() -> None:
    op.add_column(
        "neuron", sa.Column("has_control", sa.Boolean(), server_default="false", nullable=False)
    )
    op.create_table(
        "control_score",
        *_neuron(),
        sa.Column("partner", sa.Integer()),
        sa.Column("explanation", sa.Text()),
        *(sa.Column(name, sa.Double()) for name in SCORES),
        sa.Column("undefined_reason", sa.Text()),
        *_keys("control_score"),
    )
    op.create_table(
        "control_simulation",
        *_neuron(),
        sa.Column("excerpt", sa.Integer(), nullable=False),
        sa.Column("expected_activations", sa.LargeBinary(), nullable=False),
        sa.Column("call", sa.LargeBinary(), nullable=False),
        *_keys("control_simulation", "excerpt"),
    )
    op.create_index(
        "ix_control_simulation_call", "control_simulation", ["call"], postgresql_using="hash"
    )
    op.execute(f"CREATE VIEW control_summary AS {CONTROL_SUMMARY}")
    _order_stages_by(ORDER)


def _neuron() -> list[sa.Column]:
    kinds = (sa.Integer(), sa.SmallInteger(), sa.Integer())
    return [sa.Column(name, kind, nullable=False) for name, kind in zip(KEYS, kinds, strict=True)]


def _keys(table: str, *more: str) -> list[sa.Constraint]:
    return [
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f(f"fk_{table}_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(*KEYS, *more, name=op.f(f"pk_{table}")),
    ]


def _order_stages_by(order: str) -> None:
    view = context.script.get_revision("0019").module
    query = view.RUN_PROGRESS.format(
        stages=order,
        eta=view._eta("pace"),
        eta_low=view._eta(f"greatest({view._RATES})"),
        eta_high=view._eta(f"least({view._RATES})"),
    )
    op.execute(f"CREATE OR REPLACE VIEW run_progress AS {query}")


def downgrade() -> None:
    _order_stages_by(context.script.get_revision("0011").module.ORDER)
    op.execute("DROP VIEW control_summary")
    op.drop_table("control_simulation")
    op.drop_table("control_score")
    op.drop_column("neuron", "has_control")
    for table in ("shard", "progress", "throughput", "failure", "retry"):
        op.execute(f"DELETE FROM {table} WHERE stage = 'control'")  # noqa: S608  (constants)
