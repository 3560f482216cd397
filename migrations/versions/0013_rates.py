"""Rates of the last minute, 15 minutes and hour in run_progress, with a range of the time left."""

from alembic import context, op

revision = "0013"
down_revision = "0012"

# A row of throughput counts the results of one minute by the clock. The last minute is this one,
# and as much of the one before as makes it whole. No rate counts time before the first result.
RUN_PROGRESS = """
    WITH shares AS (
        SELECT run_id, stage, minute, finished,
               extract(epoch FROM now() - min(minute) OVER (PARTITION BY run_id, stage)) / 60
                   AS elapsed,
               CASE WHEN minute >= date_trunc('minute', now()) THEN 1
                    WHEN minute >= date_trunc('minute', now()) - interval '1 minute'
                    THEN 1 - extract(second FROM now()) / 60 ELSE 0 END AS in_last_minute
        FROM throughput WHERE minute > now() - interval '60 minutes'),
    rates AS (
        SELECT run_id, stage,
               sum(finished * in_last_minute) / least(1, greatest(1.0 / 60, max(elapsed)))
                   AS per_minute,
               coalesce(sum(finished) FILTER (WHERE minute > now() - interval '15 minutes'), 0)
                   / least(15, greatest(1.0 / 60, max(elapsed))) AS per_minute_15,
               sum(finished) / greatest(1.0 / 60, max(elapsed)) AS per_minute_60
        FROM shares GROUP BY 1, 2),
    busy AS (
        SELECT run_id, stage, sum(weight) AS in_flight
        FROM shard WHERE state = 'leased' GROUP BY 1, 2),
    counted AS (
        SELECT run_id, stage, sum(total) AS total, sum(done) AS done, sum(failed) AS failed,
               sum(total - done - failed) AS remaining, max(last_result_at) AS last_result_at
        FROM progress GROUP BY 1, 2)
    SELECT run.name AS run, stage, total, done, failed,
           coalesce(in_flight, 0) AS in_flight,
           greatest(0, remaining - coalesce(in_flight, 0)) AS waiting,
           round(100.0 * (done + failed) / nullif(total, 0), 2) AS percent,
           round(coalesce(per_minute, 0)::numeric, 1) AS per_minute,
           {eta_of_15} AS eta,
           last_result_at,
           CASE stage WHEN 'collect' THEN 'excerpts read' ELSE 'neurons' END AS unit,
           array_position({stages}, stage) AS stage_order,
           round(coalesce(per_minute_15, 0)::numeric, 1) AS per_minute_15,
           round(coalesce(per_minute_60, 0)::numeric, 1) AS per_minute_60,
           {eta_of_fastest} AS eta_low,
           {eta_of_slowest} AS eta_high,
           run.state AS state
    FROM counted JOIN run ON run.id = run_id
    LEFT JOIN rates USING (run_id, stage) LEFT JOIN busy USING (run_id, stage)
"""
_RATES = ", ".join(
    f"nullif({name}, 0)" for name in ("per_minute", "per_minute_15", "per_minute_60")
)


def _eta(rate: str) -> str:
    """Return the time left at a rate; NULL where nothing is left, or nothing is done."""
    return (
        f"CASE WHEN run.state = 'running' AND {rate} > 0 AND remaining > 0"
        f" THEN make_interval(secs => (remaining / {rate} * 60)::float) END"
    )


def upgrade() -> None:
    stages = context.script.get_revision("0011").module
    query = RUN_PROGRESS.format(
        stages=stages.ORDER,
        eta_of_15=_eta("per_minute_15"),
        eta_of_fastest=_eta(f"greatest({_RATES})"),
        eta_of_slowest=_eta(f"least({_RATES})"),
    )
    op.execute(f"CREATE OR REPLACE VIEW run_progress AS {query}")


def downgrade() -> None:
    stages = context.script.get_revision("0011").module
    query = context.script.get_revision("0002").module.VIEWS["run_progress"]
    query = query.replace(stages.ORDER_BEFORE, stages.ORDER)
    op.execute("DROP VIEW run_progress")
    op.execute(f"CREATE VIEW run_progress AS {query}")
