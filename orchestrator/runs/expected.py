"""How long the shards of collect should take, so that the time left can be told from the start.

The figures are those of two cores without a GPU. Only their ratios matter: the view `run_progress`
sets them right by what the steps of the run itself have taken.
"""

from collections.abc import Callable, Mapping, Sequence

from db.runs import PlannedShard
from neurogloss.config.run import RunConfig
from neurogloss.neurons.selection import n_reference
from neurogloss.subject.shape import Shape

# Seconds, as measured by benchmarks/collect.py and benchmarks/full_model.py.
FLOP = 3.2e-12  # of a matrix product
ACTIVATION = 5e-9  # of a neuron on a token: rounded, compared, added up
REFERENCE_MAXIMUM = 75e-9  # of a neuron on an excerpt of the reference, among which it is sorted
SELECTED_NEURON = 180e-6  # whose records are chosen and stored
CONNECTION = 1.5e-9  # that is compared with the strongest ones so far
TABLED_NEURON, TABLED_TOKEN = 0.5e-3, 34e-9  # whose lookup table is made, for each token of it


class ExpectedSeconds:
    """How long each shard of collect should take.

    Args:
        config: Of the run.
        shape: Of its subject.
        neurons: Of the run, by layer.
    """

    def __init__(
        self, config: RunConfig, shape: Shape, neurons: Mapping[int, Sequence[int]]
    ) -> None:
        self._corpus, self._shape = config.corpus, shape
        self._n_in = {layer: len(of_layer) for layer, of_layer in neurons.items()}
        # Older models say no width; GPT-2's layers have four neurons for each of it.
        self._width = shape.width or shape.neurons_per_layer // 4
        self._of_step: dict[str, Callable[[PlannedShard], float]] = {
            "reference": self._read,
            "boundaries": self._boundaries,
            "read": self._read,
            "select": lambda shard: SELECTED_NEURON * self._n_in[shard.layer],
            "connections": self._connections,
            "lookup": self._tables,
            "baselines": self._tables,
        }

    def of(self, shard: PlannedShard) -> float:
        """Return the seconds of a shard of collect."""
        return self._of_step[shard.step](shard)

    def _read(self, shard: PlannedShard) -> float:
        return self._reading(shard.stop - shard.start, range(self._shape.n_layers))

    def _reading(self, n_excerpts: int, layers: Sequence[int]) -> float:
        width, shape = self._width, self._shape
        flops = len(layers) * (8 * width**2 + 4 * width * shape.neurons_per_layer)
        activations = sum(self._n_in.get(layer, 0) for layer in layers)
        n_tokens = n_excerpts * self._corpus.excerpt_tokens
        return n_tokens * (FLOP * flops + ACTIVATION * activations)

    def _boundaries(self, shard: PlannedShard) -> float:
        return REFERENCE_MAXIMUM * n_reference(self._corpus.excerpts) * self._n_in[shard.layer]

    def _connections(self, shard: PlannedShard) -> float:
        shape = self._shape
        others = (shape.n_layers - 1) * shape.neurons_per_layer + 2 * shape.vocab_size
        return self._n_in[shard.layer] * others * (CONNECTION + 2 * FLOP * self._width)

    def _tables(self, shard: PlannedShard) -> float:
        layers = range(shard.start, shard.stop)
        tables = TABLED_NEURON + TABLED_TOKEN * self._shape.vocab_size
        n_neurons = sum(self._n_in.get(layer, 0) for layer in layers)
        return self._reading(self._corpus.excerpts, layers) + tables * n_neurons
