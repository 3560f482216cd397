"""A stored neuron, with the stages whose results it should have."""

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
    NeuronPart.CONTROL,
    NeuronPart.CONTROL_SIMULATIONS,
    NeuronPart.CANDIDATES,
    NeuronPart.CANDIDATE_SCORES,
    NeuronPart.SENTENCES,
    NeuronPart.IMPORTED,
)


@dataclass(frozen=True, slots=True)
class CheckedNeuron:
    """A stored neuron; `finished` are the stages whose shard with this neuron is done."""

    stored: StoredNeuron
    finished: frozenset[str]
    is_ablated: bool
    has_control: bool

    def failed_up_to(self, stage: str) -> bool:
        """Return whether the neuron failed in a stage, or in one before it."""
        return not self.stored.failures.keys().isdisjoint(up_to(stage))

    @property
    def undefined_reason(self) -> str | None:
        """The reason why the neuron cannot be explained, None if it can."""
        records = self.stored.records
        return None if records is None else records.undefined_reason

    def is_owed_by(self, stage: str) -> bool:
        """Return whether a finished stage should have stored a result for the neuron."""
        is_defined = self.undefined_reason is None
        return stage in self.finished and is_defined and not self.failed_up_to(stage)


def load_checked(
    connection: Connection,
    run_id: int,
    layer: int,
    neurons: Sequence[int],
    done: Sequence[DoneRange],
) -> list[CheckedNeuron]:
    """Load neurons of a layer, in order.

    Args:
        connection: To the database.
        run_id: The run.
        layer: The layer.
        neurons: The neurons, ascending.
        done: The ranges of finished shards, from `shard_coverage.done_ranges`.

    Raises:
        CorruptRowError: The bytes of a stored array have the wrong length or type.
    """
    finished: dict[int, set[str]] = defaultdict(set)
    for shard in done:
        # A shard's range may have gaps: a run may be about a sample of neurons.
        first, last = (bisect_left(neurons, end) for end in (shard.start, shard.stop))
        for neuron in neurons[first:last]:
            finished[neuron].add(shard.stage)
    place = (run_id, layer, neurons[0], neurons[-1] + 1)
    ablated = set(runs.ablated_in(connection, *place))
    controlled = set(runs.controlled_in(connection, *place))
    return [
        CheckedNeuron(
            stored,
            frozenset(finished[stored.neuron]),
            stored.neuron in ablated,
            stored.neuron in controlled,
        )
        for stored in load_neurons(connection, run_id, layer, neurons, PARTS)
    ]
