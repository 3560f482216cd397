"""Check the controls of scores: whose explanations they took, and that their scores are right."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection

from db import results, runs
from db.control_scores import ControlScoreRow
from neurogloss.config.run import RunConfig
from neurogloss.neurons.control import in_order, partner_of
from neurogloss.neurons.scoring import score_neuron
from neurogloss.neurons.splits import Split
from neurogloss.stages import up_to
from orchestrator.verify.checked_neuron import CheckedNeuron
from orchestrator.verify.scores import SplitRecords, score_differences
from worker.run import Run


@dataclass(frozen=True, slots=True)
class Partners:
    """The explanations of a layer, from which its controls were simulated.

    Attributes:
        ordered: The neurons of the layer, in the order in which partners follow each other.
        explanations: By neuron.
        tried_again: The neurons whose explanation a person asked for again: it may have come, or
            changed, after a control was made.
    """

    ordered: list[int] = field(default_factory=list)
    explanations: dict[int, str] = field(default_factory=dict)
    tried_again: set[int] = field(default_factory=set)

    @classmethod
    def of_layer(cls, connection: Connection, run: Run, layer: int) -> "Partners":
        """Load them; none for a run without controls."""
        neurons = runs.neurons_in(connection, run.id, layer)
        if not run.config.scoring.control or not neurons:
            return cls()
        place = (layer, neurons[0], neurons[-1] + 1)
        asked_again: set[int] = set()
        for stage in up_to("revise"):
            asked_again |= results.retries(connection, run.id, stage, *place).keys()
        return cls(
            in_order(run.config.corpus.seed, layer, neurons),
            results.explanation_texts(connection, run.id, *place),
            asked_again,
        )

    def is_right(self, control: ControlScoreRow) -> bool:
        """Return whether a control took the explanation that it should have taken."""
        right = partner_of(control.neuron, self.ordered, self.explanations)
        if control.partner == right:
            text = None if right is None else self.explanations[right]
            return control.explanation == text or right in self.tried_again
        if control.partner is None:
            return False
        # By the explanations that were there when the control was made, as far as that is known.
        settled = self.explanations.keys() - self.tried_again
        then = partner_of(control.neuron, self.ordered, settled | {control.partner})
        return then == control.partner


def control_faults(checked: CheckedNeuron, config: RunConfig, partners: Partners) -> Iterator[str]:
    """Yield faults of a neuron's control."""
    control, records = checked.stored.control, checked.stored.records
    if control is None:
        if checked.has_control and checked.is_owed_by("control"):
            yield "a control was planned, and it has neither a control nor a failure"
        return
    if not checked.has_control:
        yield "it has a control, although none was planned"
    if records is None or records.undefined_reason is not None:
        return
    if not partners.is_right(control):
        yield (
            f"its control is by neuron {control.partner}, which is not its partner, or whose "
            "explanation has changed"
        )
    if control.partner is None:
        return
    scored = SplitRecords.of(records, config, Split.VALID)
    simulated = checked.stored.control_simulations
    if simulated.keys() != set(scored.excerpts):
        yield "its control is not simulated on its scored records"
        return
    expected = [simulated[excerpt].expected_activations for excerpt in scored.excerpts]
    right = score_neuron(records.on(scored.places), expected, scored.n_top)
    yield from score_differences(control, right, "of its control, ")
