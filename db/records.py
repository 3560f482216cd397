"""Activation records and token means of neurons."""

from dataclasses import dataclass

from db.codec import FLOAT16, FLOAT32, INT32
from db.rows import NeuronRows
from db.tables import NeuronRecordsTable, TokenMeansTable
from neurogloss.neurons.records import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronRecordsRow:
    """The activation records of a neuron, and the statistics of its activations.

    `activations` is float16 (n_records, excerpt_tokens), and record i is on excerpt `excerpts[i]`;
    it stays (n,) where its size does not fit its records. The lists index into the records: see
    `NeuronRecordsTable`.
    """

    run_id: int
    layer: int
    neuron: int
    excerpts: list[int]
    activations: FloatArray
    top_records: list[int]
    random_records: list[int]
    bucket_records: list[int]
    buckets: list[int]
    quantile_boundaries: list[float]
    max_activation: float
    mean: float | None
    variance: float | None
    skewness: float | None
    kurtosis: float | None
    n_tokens: int | None
    undefined_reason: str | None

    def __post_init__(self) -> None:
        n_records, size = len(self.excerpts), self.activations.size
        if n_records and self.activations.ndim == 1 and size % n_records == 0:
            object.__setattr__(self, "activations", self.activations.reshape(n_records, -1))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMeansRow:
    """A neuron's token lookup table: see `TokenMeansTable`.

    `tokens` int32, `means` float32 and `counts` int32 are (n_tokens,), sorted by token.
    """

    run_id: int
    layer: int
    neuron: int
    tokens: IntArray
    means: FloatArray
    counts: IntArray
    top_tokens: list[int]
    default_mean: float | None

    def top_means(self) -> list[tuple[int, float]]:
        """Return (token, mean activation) of the tokens of the highest means, in order."""
        means = dict(zip(self.tokens.tolist(), self.means.tolist(), strict=True))
        return [(token, means[token]) for token in self.top_tokens]


neuron_records = NeuronRows(NeuronRecordsTable, NeuronRecordsRow, {"activations": FLOAT16})
token_means = NeuronRows(
    TokenMeansTable, TokenMeansRow, {"tokens": INT32, "means": FLOAT32, "counts": INT32}
)
