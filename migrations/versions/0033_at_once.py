"""The time left of collect where workers do several shards at once."""

from alembic import context, op

revision = "0033"
down_revision = "0032"

# A worker that does two shards at once takes longer for each: each counts for its part of the time,
# and the time left is shared among workers, not among their shards.
OF_STEP = (
    "extract(epoch FROM now() - claimed_at)::float END), 0) AS took,",
    "extract(epoch FROM now() - claimed_at)::float / at_once END), 0) AS took,",
)
HELD = (
    "count(*) FILTER (WHERE state = 'leased') AS held",
    "coalesce(sum(1.0 / at_once) FILTER (WHERE state = 'leased'), 0)::float AS held",
)
SHARDS = (
    "FROM shard WHERE stage = 'collect' AND expected_s > 0 GROUP BY 1, 2),",
    """FROM (
            SELECT *, count(*) FILTER (WHERE state = 'leased')
                      OVER (PARTITION BY run_id, worker) AS at_once
            FROM shard WHERE stage = 'collect' AND expected_s > 0) AS of_collect
        GROUP BY 1, 2),""",
)


def upgrade() -> None:
    before = context.script.get_revision("0032").module
    collected = before.COLLECTED
    for old, new in (OF_STEP, HELD, SHARDS):
        assert collected.count(old) == 1, old
        collected = collected.replace(old, new)
    op.execute(f"CREATE OR REPLACE VIEW run_progress AS {before.run_progress(collected)}")


def downgrade() -> None:
    before = context.script.get_revision("0032").module
    op.execute(f"CREATE OR REPLACE VIEW run_progress AS {before.run_progress(before.COLLECTED)}")
