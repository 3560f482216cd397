"""The SQL views that people query; their columns are a contract."""

from alembic import op

revision = "0002"
down_revision = "0001"

VIEWS = {
    "run_progress": """
        WITH recent AS (
            SELECT run_id, stage, sum(finished) / greatest(1.0 / 60, extract(epoch FROM
                       now() - min(minute)) / 60) AS per_minute
            FROM throughput WHERE minute > now() - interval '10 minutes' GROUP BY 1, 2),
        busy AS (
            SELECT run_id, stage, sum(weight) AS in_flight
            FROM shard WHERE state = 'leased' GROUP BY 1, 2),
        counted AS (
            SELECT run_id, stage, sum(total) AS total, sum(done) AS done, sum(failed) AS failed,
                   max(last_result_at) AS last_result_at
            FROM progress GROUP BY 1, 2)
        SELECT run.name AS run, stage, total, done, failed,
               coalesce(in_flight, 0) AS in_flight,
               greatest(0, total - done - failed - coalesce(in_flight, 0)) AS waiting,
               round(100.0 * (done + failed) / nullif(total, 0), 2) AS percent,
               round(coalesce(per_minute, 0)::numeric, 1) AS per_minute,
               CASE WHEN per_minute > 0 AND total > done + failed
                    THEN make_interval(secs => ((total - done - failed) / per_minute * 60)::float)
               END AS eta,
               last_result_at,
               CASE stage WHEN 'collect' THEN 'excerpts read' ELSE 'neurons' END AS unit,
               array_position(ARRAY['collect', 'explain', 'simulate', 'score'], stage)
                   AS stage_order
        FROM counted JOIN run ON run.id = run_id
        LEFT JOIN recent USING (run_id, stage) LEFT JOIN busy USING (run_id, stage)
    """,
    "layer_progress": """
        WITH layers AS (SELECT DISTINCT run_id, layer FROM progress WHERE layer >= 0),
        every_layer AS (
            SELECT run_id, stage, layer, total, done, failed, last_result_at
            FROM progress WHERE layer >= 0
            UNION ALL
            SELECT run_id, stage, layers.layer, total, done, failed, last_result_at
            FROM progress JOIN layers USING (run_id) WHERE progress.layer = -1),
        busy AS (
            SELECT run_id, stage, layer, sum(weight) AS in_flight
            FROM shard WHERE state = 'leased' GROUP BY 1, 2, 3)
        SELECT run.name AS run, stage, layer, total, done, failed,
               coalesce(in_flight, 0) AS in_flight,
               greatest(0, total - done - failed - coalesce(in_flight, 0)) AS waiting,
               round(100.0 * (done + failed) / nullif(total, 0), 2) AS percent,
               last_result_at
        FROM every_layer JOIN run ON run.id = run_id LEFT JOIN busy USING (run_id, stage, layer)
    """,
    "run_cost": """
        SELECT run.name AS run, stage, model, calls, prompt_tokens, cached_tokens,
               completion_tokens, usd + wasted_usd AS usd,
               (usd + wasted_usd) * total / nullif(done + failed, 0) AS usd_projected,
               wasted_usd AS usd_wasted_on_retries
        FROM spend JOIN run ON run.id = run_id
        LEFT JOIN (SELECT run_id, stage, sum(total) AS total, sum(done) AS done,
                          sum(failed) AS failed
                   FROM progress GROUP BY 1, 2) AS counted USING (run_id, stage)
    """,
    "failure_summary": """
        SELECT run.name AS run, stage, failure_class AS class, count(*) AS n,
               min(failed_at) AS first_at, max(failed_at) AS last_at, min(message) AS example
        FROM failure JOIN run ON run.id = run_id GROUP BY 1, 2, 3
    """,
    "neuron_summary": """
        SELECT run.name AS run, neuron.layer, neuron.neuron,
               CASE WHEN score.score IS NOT NULL THEN 'scored'
                    WHEN score.neuron IS NOT NULL THEN 'undefined'
                    WHEN failed.neuron IS NOT NULL THEN 'failed'
                    WHEN explanation.neuron IS NOT NULL THEN 'explained'
                    WHEN records.neuron IS NOT NULL THEN 'collected'
                    ELSE 'waiting' END AS state,
               coalesce(score.undefined_reason, failed.reason) AS reason,
               explanation.text AS explanation, score.score, score.score_top, score.score_random,
               records.max_activation,
               (SELECT sum(usd) FROM call WHERE call.identity = explanation.call
                   OR call.identity IN (
                       SELECT simulation.call FROM simulation
                       WHERE simulation.run_id = neuron.run_id AND simulation.layer = neuron.layer
                         AND simulation.neuron = neuron.neuron)) AS usd
        FROM neuron JOIN run ON run.id = neuron.run_id
        LEFT JOIN neuron_records AS records USING (run_id, layer, neuron)
        LEFT JOIN explanation USING (run_id, layer, neuron)
        LEFT JOIN score USING (run_id, layer, neuron)
        LEFT JOIN LATERAL (
            SELECT failure.neuron, stage || ': ' || failure_class || ': ' || message AS reason
            FROM failure
            WHERE failure.run_id = neuron.run_id AND failure.layer = neuron.layer
              AND failure.neuron = neuron.neuron
            ORDER BY failed_at LIMIT 1) AS failed ON true
    """,
    "worker_status": """
        SELECT worker.worker, queue, host, held.shard, heartbeat_at,
               round((finished / greatest(1.0 / 60, extract(epoch FROM now() - started_at) / 60))
                   ::numeric, 1) AS per_minute
        FROM worker LEFT JOIN LATERAL (
            SELECT min(id) AS shard FROM shard
            WHERE state = 'leased' AND shard.worker = worker.worker) AS held ON true
    """,
}


def upgrade() -> None:
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
