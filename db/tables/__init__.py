"""The tables of neurogloss: what is asked, what is stored, what is left to do.

Arrays of activations are `bytea` of little-endian float16, in row-major order; the docstrings name
their dimensions. A neuron is (`layer`, `neuron`), both counted from 0.
"""

from db.tables.base import Base
from db.tables.batches import Batch, BatchRequest, BatchWait
from db.tables.calls import BudgetHold, CallRecord, RepeatedCall, Spend
from db.tables.candidates import Candidate, CandidateScore, Sentence
from db.tables.collection import CollectBound, CollectMaxima, CollectPart
from db.tables.connections import RelatedNeurons, RelatedTokens
from db.tables.corpus import Corpus, Excerpt, Token, Vocabulary
from db.tables.evaluations import Ablation, BaselineScore, CalibratedScore, ScorerResult
from db.tables.origins import ImportedNeuron, RunOrigin
from db.tables.records import NeuronRecords, TokenMeans
from db.tables.results import Explanation, Failure, Retry, Score, Simulation
from db.tables.runs import Neuron, Progress, Run, Shard, Throughput, Worker

__all__ = [
    "Ablation",
    "Base",
    "BaselineScore",
    "Batch",
    "BatchRequest",
    "BatchWait",
    "BudgetHold",
    "CalibratedScore",
    "CallRecord",
    "Candidate",
    "CandidateScore",
    "CollectBound",
    "CollectMaxima",
    "CollectPart",
    "Corpus",
    "Excerpt",
    "Explanation",
    "Failure",
    "ImportedNeuron",
    "Neuron",
    "NeuronRecords",
    "Progress",
    "RelatedNeurons",
    "RelatedTokens",
    "RepeatedCall",
    "Retry",
    "Run",
    "RunOrigin",
    "Score",
    "ScorerResult",
    "Sentence",
    "Shard",
    "Simulation",
    "Spend",
    "Throughput",
    "Token",
    "TokenMeans",
    "Vocabulary",
    "Worker",
]
