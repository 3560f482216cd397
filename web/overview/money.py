"""What a run has paid, and what it will."""

from collections.abc import Sequence
from dataclasses import dataclass

from db.progress import RunCost, StageProgress
from db.runs import StoredRun

PROBE = "probe"  # a few calls before the first stage


@dataclass(frozen=True, slots=True)
class RunMoney:
    """In USD. `spent` and `projected` include what is `wasted`; `budget` is None without one.

    `is_whole` says that every stage has begun, so that the projection leaves none out.
    """

    spent: float
    projected: float | None
    is_whole: bool
    wasted: float
    budget: float | None
    per_neuron: float | None
    rows: list[RunCost]


def money_of(run: StoredRun, stages: Sequence[StageProgress], costs: Sequence[RunCost]) -> RunMoney:
    """Return the money of a run."""
    spent = sum(cost.usd for cost in costs)
    finished = sum(stage.done + stage.failed for stage in stages if stage.stage == "score")
    begun = {stage.stage for stage in stages if stage.done + stage.failed or not stage.total}
    # Without the projection of a stage the sum would be too low, so there is none.
    known = all(cost.usd_projected is not None for cost in costs if cost.stage != PROBE)
    return RunMoney(
        spent,
        sum(cost.usd_projected or cost.usd for cost in costs) if known else None,
        all(stage.stage in begun for stage in stages),
        sum(cost.usd_wasted_on_retries for cost in costs),
        run.budget_usd,
        spent / finished if finished and costs else None,
        list(costs),
    )
