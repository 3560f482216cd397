"""Views of calibrated scores and ablations by layer."""

from alembic import op

revision = "0012"
down_revision = "0011"

VIEWS = {
    "calibration_summary": """
        SELECT run.name AS run, calibration, layer, count(score) AS n,
               count(*) - count(score) AS undefined, avg(score) AS score,
               avg(rsquared) AS rsquared, avg(absolute_dev_explained) AS absolute_dev_explained
        FROM calibrated_score JOIN run ON run.id = run_id GROUP BY 1, 2, 3
    """,
    "ablation_summary": """
        SELECT run.name AS run, layer, count(score) AS n, count(*) - count(score) AS undefined,
               avg(score) AS score, avg(divergence_simulated) AS divergence_simulated,
               avg(divergence_mean) AS divergence_mean
        FROM ablation JOIN run ON run.id = run_id GROUP BY 1, 2
    """,
}


def upgrade() -> None:
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
