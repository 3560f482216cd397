"""A stored neuron, with what its finished shards owe it."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from db import runs
from db.neuron import NeuronPart, StoredNeuron, load_neurons
from db.shard_coverage import DoneRange
from neurogloss.stages import up_to

PARTS = (
    NeuronPart.RECORDS,
    NeuronPart.EXPLANATION,
    NeuronPart.SIMULATIONS,
    NeuronPart.SCORE,
    NeuronPart.FAILURES,
    NeuronPart.CALIBRATED,
    NeuronPart.ABLATION,
    NeuronPart.CANDIDATES,
    NeuronPart.CANDIDATE_SCORES,
    NeuronPart.SENTENCES,
    NeuronPart.IMPORTED,
)


@dataclass(frozen=True, slots=True)
class CheckedNeuron:
    """A neuron. `finished` names the stages whose shard is done."""

    stored: StoredNeuron
    finished: frozenset[str]
    is_ablated: bool

    def failed_up_to(self, stage: str) -> bool:
        """Return whether it failed in a stage, or in one before."""
        return not self.stored.failures.keys().isdisjoint(up_to(stage))

    @property
    def undefined_reason(self) -> str | None:
        """Why it cannot be explained, if it cannot."""
        records = self.stored.records
        return None if records is None else records.undefined_reason

    def is_owed_by(self, stage: str) -> bool:
        """Return whether a stage that is through with it should have left something."""
        is_defined = self.undefined_reason is None
        return stage in self.finished and is_defined and not self.failed_up_to(stage)


def load_checked(
    connection: Connection,
    run_id: int,
    layer: int,
    neurons: Sequence[int],
    done: Sequence[DoneRange],
) -> list[CheckedNeuron]:
    """Return some neurons of a layer, in order.

    `done` are the ranges that `shard_coverage.done_ranges` returns.

    Raises:
        CorruptRowError: Stored bytes are not the array that they should be.
    """
    finished: dict[int, set[str]] = defaultdict(set)
    for shard in done:
        first, last = (bisect_left(neurons, end) for end in (shard.start, shard.stop))
        for neuron in neurons[first:last]:
            finished[neuron].add(shard.stage)
    ablated = set(runs.ablated_in(connection, run_id, layer, neurons[0], neurons[-1] + 1))
    return [
        CheckedNeuron(stored, frozenset(finished[stored.neuron]), stored.neuron in ablated)
        for stored in load_neurons(connection, run_id, layer, neurons, PARTS)
    ]
