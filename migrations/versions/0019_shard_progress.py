"""Progress within shards, and tables of collect that Postgres tidies up while they are rewritten."""

from alembic import context, op

revision = "0019"
down_revision = "0022"

# As before, with what workers have done of the shards that they hold: `under_way`. That is also the
# rate by which the time left is told until something is finished.
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
        SELECT run_id, stage, sum(weight) AS in_flight,
               sum(weight * fraction::numeric) AS under_way,
               sum(60 * weight * fraction::numeric
                   / greatest(1, extract(epoch FROM now() - claimed_at))) AS per_minute_now
        FROM shard WHERE state = 'leased' GROUP BY 1, 2),
    counted AS (
        SELECT run_id, stage, sum(total) AS total, sum(done) AS done, sum(failed) AS failed,
               sum(total - done - failed) AS remaining, max(last_result_at) AS last_result_at
        FROM progress GROUP BY 1, 2),
    stages AS (
        SELECT *, remaining - coalesce(under_way, 0) AS to_do,
               coalesce(nullif(per_minute_15, 0), per_minute_now) AS pace
        FROM counted LEFT JOIN rates USING (run_id, stage) LEFT JOIN busy USING (run_id, stage))
    SELECT run.name AS run, stage, total, done, failed,
           coalesce(in_flight, 0) AS in_flight,
           greatest(0, remaining - coalesce(in_flight, 0)) AS waiting,
           round(100.0 * (total - to_do) / nullif(total, 0), 2) AS percent,
           round(coalesce(per_minute, 0)::numeric, 1) AS per_minute,
           {eta} AS eta,
           last_result_at,
           CASE stage WHEN 'collect' THEN 'excerpts read' ELSE 'neurons' END AS unit,
           array_position({stages}, stage) AS stage_order,
           round(coalesce(per_minute_15, 0)::numeric, 1) AS per_minute_15,
           round(coalesce(per_minute_60, 0)::numeric, 1) AS per_minute_60,
           {eta_low} AS eta_low,
           {eta_high} AS eta_high,
           run.state AS state,
           round(coalesce(under_way, 0), 1) AS under_way
    FROM stages JOIN run ON run.id = run_id
"""
_RATES = "nullif(per_minute, 0), nullif(pace, 0), nullif(per_minute_60, 0)"
STEP_PROGRESS = """
    SELECT run.name AS run, step, count(*) AS shards,
           count(*) FILTER (WHERE shard.state = 'done') AS done,
           coalesce(sum(fraction) FILTER (WHERE shard.state = 'leased'), 0) AS under_way
    FROM shard JOIN run ON run.id = run_id WHERE stage = 'collect' GROUP BY 1, 2
"""
# A merge rewrites megabytes in a handful of rows, so that the usual thresholds of dead rows are
# reached when gigabytes are dead.
TIDY = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "20",
    "autovacuum_vacuum_cost_delay": "0",
    "toast.autovacuum_vacuum_scale_factor": "0.1",
    "toast.autovacuum_vacuum_threshold": "2000",
    "toast.autovacuum_vacuum_cost_delay": "0",
}
REWRITTEN = ("collect_part", "collect_maxima", "collect_bound")


def _eta(rate: str) -> str:
    """Return the time left at a rate; NULL where nothing is left, or nothing is done."""
    return (
        f"CASE WHEN run.state = 'running' AND {rate} > 0 AND to_do > 0"
        f" THEN make_interval(secs => (to_do / {rate} * 60)::float) END"
    )


def upgrade() -> None:
    op.execute("""
        ALTER TABLE shard ADD fraction REAL NOT NULL DEFAULT 0, ADD claimed_at TIMESTAMPTZ
    """)
    op.execute("CREATE INDEX ix_shard_collect ON shard (run_id) WHERE stage = 'collect'")
    settings = ", ".join(f"{name} = {value}" for name, value in TIDY.items())
    for table in REWRITTEN:
        op.execute(f"ALTER TABLE {table} SET ({settings})")
    op.execute(f"CREATE VIEW step_progress AS {STEP_PROGRESS}")
    query = RUN_PROGRESS.format(
        stages=context.script.get_revision("0011").module.ORDER,
        eta=_eta("pace"),
        eta_low=_eta(f"greatest({_RATES})"),
        eta_high=_eta(f"least({_RATES})"),
    )
    op.execute(f"CREATE OR REPLACE VIEW run_progress AS {query}")


def downgrade() -> None:
    op.execute("DROP VIEW step_progress")
    op.execute("DROP VIEW run_progress")
    context.script.get_revision("0013").module.upgrade()
    for table in REWRITTEN:
        op.execute(f"ALTER TABLE {table} RESET ({', '.join(TIDY)})")
    op.execute("DROP INDEX ix_shard_collect")
    op.execute("ALTER TABLE shard DROP fraction, DROP claimed_at")
