"""All that is stored of neurons: one loader for terminal, JSON, exports and verification."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sqlalchemy import Connection

from db import candidates, connections, control_scores, evaluations, records, results
from db.candidates import CandidateRow, CandidateScoreRow, SentenceRow
from db.connections import RelatedNeuronsRow, RelatedTokensRow
from db.control_scores import ControlScoreRow, ControlSimulationRow
from db.evaluations import AblationRow, BaselineScoreRow, CalibratedScoreRow, ScorerResultRow
from db.imported_neurons import ImportedNeuronRow, imported_neurons
from db.notes import NeuronNoteRow, notes
from db.records import NeuronRecordsRow, TokenMeansRow
from db.results import ExplanationRow, FailureRow, ScoreRow, SimulationRow
from db.rows import NeuronRows


class NeuronPart(Enum):
    """A part of what is stored of a neuron; the value is its field in `StoredNeuron`."""

    RECORDS = "records"
    EXPLANATION = "explanation"
    SIMULATIONS = "simulations"
    SCORE = "score"
    FAILURES = "failures"
    TOKEN_MEANS = "token_means"
    RELATED_NEURONS = "related_neurons"
    RELATED_TOKENS = "related_tokens"
    BASELINES = "baselines"
    CALIBRATED = "calibrated"
    SCORERS = "scorers"
    ABLATION = "ablation"
    CONTROL = "control"
    CONTROL_SIMULATIONS = "control_simulations"
    CANDIDATES = "candidates"
    CANDIDATE_SCORES = "candidate_scores"
    SENTENCES = "sentences"
    IMPORTED = "imported"
    NOTES = "notes"


ALL_PARTS = frozenset(NeuronPart)


@dataclass(frozen=True, slots=True)
class StoredNeuron:
    """One neuron of a run. What it lacks, or what was not asked for, is None or empty.

    Attributes:
        simulations: By excerpt.
        failures: By the stage that failed.
        related_neurons: By direction, `upstream` or `downstream`.
        related_tokens: By direction, `input` or `output`.
        baselines: By baseline.
        calibrated: By calibration.
        scorers: By scorer.
        control_simulations: By excerpt.
        candidates: By number, in order.
        candidate_scores: By stage and number, in order.
        sentences: By number, in order.
        imported: What a published neuron has beside that; None if the run collected it.
        notes: What people wrote about it, the earliest first.
    """

    layer: int
    neuron: int
    records: NeuronRecordsRow | None = None
    explanation: ExplanationRow | None = None
    simulations: dict[int, SimulationRow] = field(default_factory=dict)
    score: ScoreRow | None = None
    failures: dict[str, FailureRow] = field(default_factory=dict)
    token_means: TokenMeansRow | None = None
    related_neurons: dict[str, RelatedNeuronsRow] = field(default_factory=dict)
    related_tokens: dict[str, RelatedTokensRow] = field(default_factory=dict)
    baselines: dict[str, BaselineScoreRow] = field(default_factory=dict)
    calibrated: dict[str, CalibratedScoreRow] = field(default_factory=dict)
    scorers: dict[str, ScorerResultRow] = field(default_factory=dict)
    ablation: AblationRow | None = None
    control: ControlScoreRow | None = None
    control_simulations: dict[int, ControlSimulationRow] = field(default_factory=dict)
    candidates: list[CandidateRow] = field(default_factory=list)
    candidate_scores: list[CandidateScoreRow] = field(default_factory=list)
    sentences: list[SentenceRow] = field(default_factory=list)
    imported: ImportedNeuronRow | None = None
    notes: list[NeuronNoteRow] = field(default_factory=list)


Fields = dict[str, Any]
Add = Callable[[Fields, str, Any], None]


def _set(stored: Fields, name: str, row: Any) -> None:
    stored[name] = row


def _append(stored: Fields, name: str, row: Any) -> None:
    stored.setdefault(name, []).append(row)


def _by(column: str) -> Add:
    def put(stored: Fields, name: str, row: Any) -> None:
        stored.setdefault(name, {})[getattr(row, column)] = row

    return put


_TABLES: Mapping[NeuronPart, tuple[NeuronRows[Any], Add]] = {
    NeuronPart.RECORDS: (records.neuron_records, _set),
    NeuronPart.EXPLANATION: (results.explanations, _set),
    NeuronPart.SIMULATIONS: (results.simulations, _by("excerpt")),
    NeuronPart.SCORE: (results.scores, _set),
    NeuronPart.FAILURES: (results.failures, _by("stage")),
    NeuronPart.TOKEN_MEANS: (records.token_means, _set),
    NeuronPart.RELATED_NEURONS: (connections.related_neurons, _by("direction")),
    NeuronPart.RELATED_TOKENS: (connections.related_tokens, _by("direction")),
    NeuronPart.BASELINES: (evaluations.baseline_scores, _by("baseline")),
    NeuronPart.CALIBRATED: (evaluations.calibrated_scores, _by("calibration")),
    NeuronPart.SCORERS: (evaluations.scorer_results, _by("scorer")),
    NeuronPart.ABLATION: (evaluations.ablations, _set),
    NeuronPart.CONTROL: (control_scores.control_scores, _set),
    NeuronPart.CONTROL_SIMULATIONS: (control_scores.control_simulations, _by("excerpt")),
    NeuronPart.CANDIDATES: (candidates.candidates, _append),
    NeuronPart.CANDIDATE_SCORES: (candidates.candidate_scores, _append),
    NeuronPart.SENTENCES: (candidates.sentences, _append),
    NeuronPart.IMPORTED: (imported_neurons, _set),
    NeuronPart.NOTES: (notes, _append),
}


def load_neurons(
    connection: Connection,
    run_id: int,
    layer: int,
    neurons: Sequence[int],
    parts: Collection[NeuronPart] = ALL_PARTS,
) -> list[StoredNeuron]:
    """Return some neurons of a layer, in the order in which they are named.

    One query for each part reads from the lowest neuron to the highest: name neighbours.

    Raises:
        CorruptRowError: Stored bytes are not the array that they should be.
    """
    if not neurons:
        return []
    stored: dict[int, Fields] = {neuron: {} for neuron in neurons}
    for part in parts:
        table, add = _TABLES[part]
        for row in table.load(connection, run_id, layer, min(neurons), max(neurons) + 1):
            # The range may hold other neurons of the run between those that were named.
            if row.neuron in stored:
                add(stored[row.neuron], part.value, row)
    return [StoredNeuron(layer, neuron, **fields) for neuron, fields in stored.items()]


def load_neuron(
    connection: Connection,
    run_id: int,
    layer: int,
    neuron: int,
    parts: Collection[NeuronPart] = ALL_PARTS,
) -> StoredNeuron:
    """Return one neuron; all its parts are empty where the run has none of it."""
    (stored,) = load_neurons(connection, run_id, layer, [neuron], parts)
    return stored
