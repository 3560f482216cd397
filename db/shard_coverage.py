"""Whether the shards of a run cover its neurons and excerpts exactly once: queries for `verify`."""

from typing import NamedTuple

from sqlalchemy import Connection, text

from neurogloss.stages import concerns_sql


class Overlap(NamedTuple):
    """The ids of two shards that share neurons, or excerpts."""

    stage: str
    step: str
    layer: int
    one: int
    other: int


def overlaps(connection: Connection, run_id: int) -> list[Overlap]:
    """Return pairs of shards that share neurons, or excerpts."""
    # `reference` and `read` share the excerpts out between them, and count as one step.
    query = text("""
        SELECT stage, step, layer, one, other FROM (
            SELECT stage, CASE WHEN step IN ('reference', 'read') THEN 'read' ELSE step END AS step,
                   layer, id AS one, stop, lead(id) OVER along AS other,
                   lead(start) OVER along AS next
            FROM shard WHERE run_id = :run
            WINDOW along AS (
                PARTITION BY stage, layer,
                             CASE WHEN step IN ('reference', 'read') THEN 'read' ELSE step END
                ORDER BY start, id)
        ) AS pairs WHERE next < stop ORDER BY one
    """)
    return [Overlap(*row) for row in connection.execute(query, {"run": run_id})]


class Gap(NamedTuple):
    """A place where shards do not add up to the run: how much they cover, and of how much."""

    stage: str
    step: str
    layer: int
    covered: int
    wanted: int


def gaps(connection: Connection, run_id: int, n_excerpts: int) -> list[Gap]:
    """Return where shards do not add up to the run.

    Neurons are wanted in each stage that has shards at all, and excerpts, or layers, in collect.
    """
    query = text(f"""
        WITH wanted AS (
            SELECT stage, '' AS step, layer, count(*) AS wanted
            FROM neuron CROSS JOIN (SELECT DISTINCT stage FROM shard
                                    WHERE run_id = :run AND stage <> 'collect') AS stages
            WHERE run_id = :run AND {concerns_sql("stage")} GROUP BY 1, 2, 3
            UNION ALL
            SELECT 'collect', step, layer, 1
            FROM (SELECT DISTINCT layer FROM neuron WHERE run_id = :run) AS layers
            CROSS JOIN (SELECT DISTINCT step FROM shard WHERE run_id = :run
                        AND step IN ('boundaries', 'select', 'connections')) AS steps
            UNION ALL
            SELECT 'collect', 'read', -1, :n_excerpts
            WHERE EXISTS (SELECT FROM shard WHERE run_id = :run AND stage = 'collect')),
        covered AS (
            SELECT stage, CASE WHEN step IN ('reference', 'read') THEN 'read' ELSE step END AS step,
                   layer, sum(CASE WHEN step IN ('boundaries', 'select', 'connections') THEN 1
                                   ELSE weight END) AS covered
            FROM shard WHERE run_id = :run AND step NOT IN ('lookup', 'baselines')
            GROUP BY 1, 2, 3)
        SELECT stage, step, layer, coalesce(covered, 0) AS covered, coalesce(wanted, 0) AS wanted
        FROM wanted FULL JOIN covered USING (stage, step, layer)
        WHERE covered IS DISTINCT FROM wanted ORDER BY stage, step, layer
    """)  # noqa: S608  (a constant)
    values = {"run": run_id, "n_excerpts": n_excerpts}
    return [Gap(*row) for row in connection.execute(query, values)]


class DoneRange(NamedTuple):
    """The neurons, from `start` up to and without `stop`, that a stage is done with."""

    stage: str
    start: int
    stop: int


def done_ranges(connection: Connection, run_id: int, layer: int) -> list[DoneRange]:
    """Return the ranges of the shards of a layer that are done.

    Of collect, only the shard that selects the layer's records.
    """
    query = text("""
        SELECT stage, start, stop FROM shard
        WHERE run_id = :run AND layer = :layer AND state = 'done' AND step IN ('', 'select')
    """)
    return [DoneRange(*row) for row in connection.execute(query, {"run": run_id, "layer": layer})]
