"""All that is stored of some neurons, and which stages are through with them."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, RowMapping

from db import records, runs, verification
from db.verification import DoneRange
from neurogloss.stages import up_to

SINGLE = ("explanation", "score", "ablation")  # tables with one row for a neuron
SEVERAL = ("candidate", "candidate_score", "sentence", "calibrated_score")


@dataclass(slots=True)
class StoredNeuron:
    """A neuron. `finished` names the stages whose shard is done, `failures` those it failed in.

    `row` and `rows` are by table, `simulations` by excerpt.
    """

    finished: set[str]
    records: RowMapping | None = None
    row: dict[str, RowMapping] = field(default_factory=dict)
    rows: dict[str, list[RowMapping]] = field(default_factory=lambda: {t: [] for t in SEVERAL})
    simulations: dict[int, RowMapping] = field(default_factory=dict)
    is_ablated: bool = False
    is_imported: bool = False
    failures: set[str] = field(default_factory=set)

    @property
    def explanation(self) -> RowMapping | None:
        return self.row.get("explanation")

    @property
    def score(self) -> RowMapping | None:
        return self.row.get("score")

    def failed_up_to(self, stage: str) -> bool:
        """Return whether it failed in a stage, or in one before."""
        return not self.failures.isdisjoint(up_to(stage))

    @property
    def is_undefined(self) -> bool:
        return self.records is not None and self.records["undefined_reason"] is not None

    def is_owed_by(self, stage: str) -> bool:
        """Return whether a stage that is through with it should have left something."""
        return stage in self.finished and not self.is_undefined and not self.failed_up_to(stage)


def load(
    connection: Connection,
    run_id: int,
    layer: int,
    neurons: Sequence[int],
    done: Sequence[DoneRange],
) -> dict[int, StoredNeuron]:
    """Return what is stored of some neurons of a layer, in order.

    `done` are the ranges that `verification.done_ranges` returns.
    """
    finished: dict[int, set[str]] = defaultdict(set)
    for shard in done:
        first, last = (bisect_left(neurons, end) for end in (shard.start, shard.stop))
        for neuron in neurons[first:last]:
            finished[neuron].add(shard.stage)
    place = (layer, neurons[0], neurons[-1] + 1)
    ablated = set(runs.ablated_in(connection, run_id, *place))
    stored = {n: StoredNeuron(finished[n], is_ablated=n in ablated) for n in neurons}
    for row in records.load(connection, run_id, *place):
        if row["neuron"] in stored:
            stored[row["neuron"]].records = row
    for table in (*SINGLE, *SEVERAL, "simulation", "imported_neuron", "failure"):
        for row in verification.of_neurons(connection, run_id, table, *place):
            if row["neuron"] in stored:
                _add(stored[row["neuron"]], table, row)
    return stored


def _add(stored: StoredNeuron, table: str, row: RowMapping) -> None:
    if table in SINGLE:
        stored.row[table] = row
    elif table in SEVERAL:
        stored.rows[table].append(row)
    elif table == "simulation":
        stored.simulations[row["excerpt"]] = row
    elif table == "failure":
        stored.failures.add(row["stage"])
    else:
        stored.is_imported = True
