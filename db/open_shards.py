"""Shards that are open: to be done, sent for, or held by a worker."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from db.shards import MAX_ATTEMPTS


@dataclass(frozen=True, slots=True)
class OpenShards:
    """The open shards of a stage.

    Attributes:
        ready: They may be done, and no message was sent for them.
        queued: A message was sent for them, and no worker has taken them yet.
        leased: A worker holds them.
        orphaned: Of these, those whose lease has ended: the next tick of a dispatcher opens them.
    """

    stage: str
    ready: int
    queued: int
    leased: int
    orphaned: int


_COUNTS = ", ".join(
    f"count(*) FILTER (WHERE shard.state = '{name}') AS {name}"
    for name in ("ready", "queued", "leased")
)
_OPEN = text(f"""
    SELECT stage, {_COUNTS},
           count(*) FILTER (WHERE shard.state = 'leased' AND lease_until < now()) AS orphaned
    FROM shard WHERE run_id = :run AND state IN ('ready', 'queued', 'leased') GROUP BY stage
""")  # noqa: S608  (constants)


def open_shards(connection: Connection, run_id: int) -> list[OpenShards]:
    """Return the open shards of a run, for the stages that have any."""
    return [OpenShards(*row) for row in connection.execute(_OPEN, {"run": run_id})]


def first_of_steps(connection: Connection, steps: Sequence[str]) -> int | None:
    """Return the id of a shard of collect to claim next, of any run that is running.

    The first steps come first. Shards are left out that a transaction holds.
    """
    values = {"steps": list(steps), "most": MAX_ATTEMPTS}
    shard_id: int | None = connection.execute(_FIRST_OF_STEPS, values).scalar()
    return shard_id


_FIRST_OF_STEPS = text("""
    SELECT shard.id FROM run JOIN shard ON shard.run_id = run.id
    WHERE run.state = 'running' AND shard.stage = 'collect'
      AND shard.state IN ('ready', 'queued') AND step = ANY (:steps) AND attempts < :most
    ORDER BY array_position(CAST(:steps AS text[]), step), shard.id
    LIMIT 1 FOR SHARE OF shard SKIP LOCKED
""")
