"""The time left of collect by how long its shards should take, and by how long they took."""

import sqlalchemy as sa
from alembic import context, op

revision = "0032"
down_revision = "0031"

# What a run did so far says how fast it is, and what a step did so far how fast that step is: the
# seconds that its shards took, of those that were expected. Until a step has done something worth
# `PRIOR` seconds, it counts little beside all steps, and these beside the expectation.
PRIOR = 5.0
COLLECTED = f"""
    of_step AS (
        SELECT run_id, step, sum(expected_s::float) AS expected,
               sum(CASE state WHEN 'done' THEN expected_s::float
                              WHEN 'leased' THEN expected_s::float * fraction ELSE 0 END) AS behind,
               coalesce(sum(CASE WHEN state = 'done' THEN coalesce(took_s, expected_s)::float
                                 WHEN state = 'leased' AND fraction > 0
                                 THEN extract(epoch FROM now() - claimed_at)::float END), 0) AS took,
               count(*) FILTER (WHERE state = 'leased') AS held
        FROM shard WHERE stage = 'collect' AND expected_s > 0 GROUP BY 1, 2),
    paced AS (
        SELECT *, (sum(took) OVER all_steps + {PRIOR}) / (sum(behind) OVER all_steps + {PRIOR})
                  AS pace_of_all
        FROM of_step WINDOW all_steps AS (PARTITION BY run_id)),
    collected AS (
        SELECT run_id, 'collect' AS stage,
               least(1, sum(behind) / sum(expected))::numeric AS share,
               CASE WHEN sum(took) > 0
                    THEN sum((expected - behind) * (took + {PRIOR} * pace_of_all)
                             / (behind + {PRIOR})) / greatest(1, sum(held)) END AS left_s,
               CASE WHEN sum(took) > 0
                    THEN sum((expected - behind) * pace_of_all) / greatest(1, sum(held))
                    END AS left_s_by_all
        FROM paced GROUP BY 1),
    stages AS (
"""  # noqa: S608  (a constant)
JOINED = "LEFT JOIN busy USING (run_id, stage))"
PERCENT = "round(100.0 * (total - to_do) / nullif(total, 0), 2) AS percent"


def _in_place_of(eta: str, seconds: str) -> str:
    """Return the time left where it is known by what was expected; elsewhere as it was."""
    return (
        f"CASE WHEN share IS NULL THEN {eta} WHEN run.state = 'running' AND {seconds} > 0"
        f" THEN make_interval(secs => {seconds}) END"
    )


def upgrade() -> None:
    op.add_column(
        "shard", sa.Column("expected_s", sa.REAL(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("shard", sa.Column("took_s", sa.REAL()))
    op.execute(f"CREATE OR REPLACE VIEW run_progress AS {run_progress(COLLECTED)}")


def run_progress(collected: str) -> str:
    """Return the query of the view, with the time left of collect by `collected`."""
    before = context.script.get_revision("0019").module
    rates = before._RATES
    query: str = before.RUN_PROGRESS.format(
        stages=context.script.get_revision("0029").module.ORDER,
        eta=_in_place_of(before._eta("pace"), "left_s"),
        eta_low=_in_place_of(before._eta(f"greatest({rates})"), "least(left_s, left_s_by_all)"),
        eta_high=_in_place_of(before._eta(f"least({rates})"), "greatest(left_s, left_s_by_all)"),
    )
    for old, new in (
        ("stages AS (", collected.strip()),
        (JOINED, f"{JOINED[:-1]} LEFT JOIN collected USING (run_id, stage))"),
        (
            PERCENT,
            f"coalesce(round(100 * share, 2), {PERCENT.removesuffix(' AS percent')}) AS percent",
        ),
    ):
        assert query.count(old) == 1, old
        query = query.replace(old, new)
    return query


def downgrade() -> None:
    before = context.script.get_revision("0029").module
    before._order_stages_by(before.ORDER)
    op.drop_column("shard", "took_s")
    op.drop_column("shard", "expected_s")
