"""The tables of neurogloss: what is asked, what is stored, what is left to do.

Arrays of activations are `bytea` of little-endian float16, in row-major order; the docstrings name
their dimensions. A neuron is (`layer`, `neuron`), both counted from 0.
"""

from db.tables.base import Base
from db.tables.batches import BatchRequestTable, BatchTable, BatchWaitTable
from db.tables.calls import (
    BudgetHoldTable,
    CallMinuteTable,
    CallTable,
    RepeatedCallTable,
    RetriedCallsTable,
    SpendTable,
)
from db.tables.candidates import CandidateScoreTable, CandidateTable, SentenceTable
from db.tables.collection import CollectBoundTable, CollectMaximaTable, CollectPartTable
from db.tables.connections import RelatedNeuronsTable, RelatedTokensTable
from db.tables.controls import ControlScoreTable, ControlSimulationTable
from db.tables.corpus import CorpusTable, ExcerptTable, TokenTable, VocabularyTable
from db.tables.devices import RunDeviceTable
from db.tables.embeddings import RunEmbeddingTable
from db.tables.evaluations import (
    AblationTable,
    BaselineScoreTable,
    CalibratedScoreTable,
    ScorerResultTable,
)
from db.tables.lists import ListedNeuronTable
from db.tables.locks import RunLockTable
from db.tables.notes import NeuronNoteTable
from db.tables.origins import ImportedNeuronTable, RunOriginTable
from db.tables.records import NeuronRecordsTable, TokenMeansTable
from db.tables.results import (
    ExplanationTable,
    FailureTable,
    RetryTable,
    ScoreTable,
    SimulationTable,
)
from db.tables.runs import (
    NeuronTable,
    ProgressTable,
    RunTable,
    ShardTable,
    ThroughputTable,
    WorkerTable,
)
from db.tables.texts import TextRequestTable, TextResultTable

__all__ = [
    "AblationTable",
    "Base",
    "BaselineScoreTable",
    "BatchRequestTable",
    "BatchTable",
    "BatchWaitTable",
    "BudgetHoldTable",
    "CalibratedScoreTable",
    "CallMinuteTable",
    "CallTable",
    "CandidateScoreTable",
    "CandidateTable",
    "CollectBoundTable",
    "CollectMaximaTable",
    "CollectPartTable",
    "ControlScoreTable",
    "ControlSimulationTable",
    "CorpusTable",
    "ExcerptTable",
    "ExplanationTable",
    "FailureTable",
    "ImportedNeuronTable",
    "ListedNeuronTable",
    "NeuronNoteTable",
    "NeuronRecordsTable",
    "NeuronTable",
    "ProgressTable",
    "RelatedNeuronsTable",
    "RelatedTokensTable",
    "RepeatedCallTable",
    "RetriedCallsTable",
    "RetryTable",
    "RunDeviceTable",
    "RunEmbeddingTable",
    "RunLockTable",
    "RunOriginTable",
    "RunTable",
    "ScoreTable",
    "ScorerResultTable",
    "SentenceTable",
    "ShardTable",
    "SimulationTable",
    "SpendTable",
    "TextRequestTable",
    "TextResultTable",
    "ThroughputTable",
    "TokenMeansTable",
    "TokenTable",
    "VocabularyTable",
    "WorkerTable",
]
