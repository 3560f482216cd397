"""Controls of scores, and the simulations that they are computed from."""

from dataclasses import dataclass

from db.codec import FLOAT16
from db.rows import NeuronRows
from db.tables.controls import control_score_table, control_simulation_table
from neurogloss.neurons.records import FloatArray


@dataclass(frozen=True, slots=True)
class ControlScoreRow:
    """The scores of a neuron with another one's explanation; see `ControlScoreColumns`."""

    run_id: int
    layer: int
    neuron: int
    partner: int | None
    explanation: str | None
    score: float | None
    score_top: float | None
    score_random: float | None
    rsquared: float | None
    absolute_dev_explained: float | None
    undefined_reason: str | None


@dataclass(frozen=True, slots=True)
class ControlSimulationRow:
    """The simulation of a neuron on an excerpt from another neuron's explanation.

    `expected_activations` is float16 (n_tokens,).
    """

    run_id: int
    layer: int
    neuron: int
    excerpt: int
    expected_activations: FloatArray
    call: bytes


control_scores = NeuronRows(control_score_table, ControlScoreRow)
control_simulations = NeuronRows(
    control_simulation_table, ControlSimulationRow, {"expected_activations": FLOAT16}
)
