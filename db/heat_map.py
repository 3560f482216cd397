"""A run's neurons by layer and block of neighbours, as the cells of a heat map."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

BLOCK = 100  # neurons: 64 blocks for the 6,400 of a layer of GPT-2 XL


@dataclass(frozen=True, slots=True)
class HeatMapCell:
    """The neurons of a layer from `block * size` on, `size` of them.

    `failed` have a failure in place of a score, `done` a score or a reason for none. `gap` is the
    mean of how far scores are above those of the baseline `lookup`; means are None without scores.
    """

    layer: int
    block: int
    n: int
    done: int
    failed: int
    scored: int
    score: float | None
    gap: float | None
    usd: float


_CELLS = text("""
    SELECT layer, neuron / :size AS block, count(*) AS n,
           count(*) FILTER (WHERE state IN ('scored', 'undefined')) AS done,
           count(*) FILTER (WHERE state = 'failed') AS failed,
           count(score) AS scored, avg(score) AS score, avg(gap) AS gap,
           coalesce(sum(usd), 0) AS usd
    FROM listed_neuron WHERE run_id = :run GROUP BY 1, 2 ORDER BY 1, 2
""")


def heat_map(connection: Connection, run_id: int, size: int = BLOCK) -> list[HeatMapCell]:
    """Return the cells of a run that have neurons, by layer and block.

    It reads a narrow row of every neuron, a tenth of a second for GPT-2 XL: who shows it to many
    keeps it for some seconds.
    """
    rows = connection.execute(_CELLS, {"run": run_id, "size": size})
    return [HeatMapCell(*row) for row in rows]
