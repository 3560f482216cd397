"""What lists, heat maps and plots of neurons read; search for words; usd by the index of calls.

`listed_neuron` has a row for each neuron. Shards that workers of an earlier version finish do not
renew it: `neurogloss verify --repair` does.
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0021"
down_revision = "0020"

SORTED = ("score", "score_top", "score_random", "gap", "max_activation", "usd")
USD_BEFORE = """
               (SELECT sum(usd) FROM call WHERE call.identity = explanation.call
                   OR call.identity IN (
                       SELECT simulation.call FROM simulation
                       WHERE simulation.run_id = neuron.run_id AND simulation.layer = neuron.layer
                         AND simulation.neuron = neuron.neuron)) AS usd
"""
# With OR, the server reads the whole ledger for each neuron. In order, so that two sums are equal.
USD = """
               (SELECT sum(usd ORDER BY usd) FROM call WHERE call.identity IN (
                   SELECT explanation.call
                   UNION ALL
                   SELECT simulation.call FROM simulation
                   WHERE simulation.run_id = neuron.run_id AND simulation.layer = neuron.layer
                     AND simulation.neuron = neuron.neuron)) AS usd
"""

# All neurons at once: joins of whole tables take a minute for three million simulations.
FILL = """
    WITH cost AS (
        SELECT asked.run_id, layer, neuron, sum(usd ORDER BY usd) AS usd
        FROM (SELECT run_id, layer, neuron, call FROM explanation
              UNION SELECT run_id, layer, neuron, call FROM simulation) AS asked
        JOIN call ON call.identity = asked.call GROUP BY 1, 2, 3)
    INSERT INTO listed_neuron (run_id, layer, neuron, state, score, score_top, score_random,
                               lookup_score, max_activation, skewness, usd)
    SELECT neuron.run_id, neuron.layer, neuron.neuron,
           CASE WHEN score.score IS NOT NULL THEN 'scored'
                WHEN score.neuron IS NOT NULL THEN 'undefined'
                WHEN failed.neuron IS NOT NULL THEN 'failed'
                WHEN explanation.neuron IS NOT NULL THEN 'explained'
                WHEN records.neuron IS NOT NULL THEN 'collected'
                ELSE 'waiting' END,
           score.score, score.score_top, score.score_random, lookup.score, records.max_activation,
           records.skewness, cost.usd
    FROM neuron
    LEFT JOIN neuron_records AS records USING (run_id, layer, neuron)
    LEFT JOIN explanation USING (run_id, layer, neuron)
    LEFT JOIN score USING (run_id, layer, neuron)
    LEFT JOIN (SELECT run_id, layer, neuron, score FROM baseline_score
               WHERE baseline = 'lookup') AS lookup USING (run_id, layer, neuron)
    LEFT JOIN (SELECT DISTINCT run_id, layer, neuron FROM failure) AS failed
        USING (run_id, layer, neuron)
    LEFT JOIN cost USING (run_id, layer, neuron)
"""


def _summary() -> str:
    query = context.script.get_revision("0002").module.VIEWS["neuron_summary"]
    assert USD_BEFORE.strip() in query
    return str(query)


def upgrade() -> None:
    query = _summary().replace(USD_BEFORE.strip(), USD.strip())
    op.execute(f"CREATE OR REPLACE VIEW neuron_summary AS {query}")
    op.create_index("ix_failure_neuron", "failure", ["run_id", "layer", "neuron"])
    op.create_table(
        "listed_neuron",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("neuron", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("score", sa.Double()),
        sa.Column("score_top", sa.Double()),
        sa.Column("score_random", sa.Double()),
        sa.Column("lookup_score", sa.Double()),
        sa.Column("gap", sa.Double(), sa.Computed("score - lookup_score", persisted=True)),
        sa.Column("max_activation", sa.Double()),
        sa.Column("skewness", sa.Double()),
        sa.Column("usd", sa.Double()),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name="fk_listed_neuron_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "layer", "neuron", name="pk_listed_neuron"),
    )
    op.execute(FILL)
    for name in SORTED:
        op.create_index(
            f"ix_listed_neuron_{name}",
            "listed_neuron",
            ["run_id", name, "layer", "neuron"],
            postgresql_where=sa.text(f"{name} IS NOT NULL"),
        )
    words = sa.text("to_tsvector('simple'::regconfig, left(text, 100000))")
    op.create_index("ix_explanation_words", "explanation", [words], postgresql_using="gin")
    op.execute("ANALYZE listed_neuron")
    op.execute("ANALYZE explanation")  # the words that its index has


def downgrade() -> None:
    op.drop_index("ix_explanation_words", table_name="explanation")
    op.drop_table("listed_neuron")
    op.drop_index("ix_failure_neuron", table_name="failure")
    op.execute(f"CREATE OR REPLACE VIEW neuron_summary AS {_summary()}")
