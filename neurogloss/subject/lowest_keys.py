"""For every neuron of a layer, the excerpts with the lowest keys so far and their activations."""

import threading

import torch

from neurogloss.neurons.selection import NEVER


class LowestKeys:
    """The `n_kept` excerpts with the lowest keys for each neuron, and their activations.

    Keys are int64 with the excerpt in their low 32 bits. No two keys of a neuron are equal, so the
    excerpts that are kept do not depend on the order in which they are offered, also by several
    threads. `bars`, int64 (n_neurons,), are the highest keys that are kept at all.
    """

    def __init__(self, bars: torch.Tensor, n_kept: int, n_tokens: int) -> None:
        self._lock = threading.Lock()
        self._bars = bars.clone()
        self._n_kept = n_kept
        # Each empty place has a different key above all real ones, so that no two keys are equal.
        empty = torch.arange(NEVER - n_kept, NEVER, device=bars.device)
        self._keys = empty.expand(len(bars), -1).clone()
        self._activations = torch.empty(
            (len(bars), n_kept, n_tokens), dtype=torch.float16, device=bars.device
        )

    def offer(self, keys: torch.Tensor, activations: torch.Tensor) -> None:
        """Keep those excerpts of a batch whose keys are among the lowest so far.

        Args:
            keys: int64 (batch, n_neurons), NEVER for excerpts not to keep.
            activations: float16 (batch, position, n_neurons).
        """
        if self._n_kept:
            with self._lock:
                self._offer(keys, activations)

    def _offer(self, keys: torch.Tensor, activations: torch.Tensor) -> None:
        # Most batches change few neurons, and only these are sorted.
        neurons = (keys <= self._bars).any(0).nonzero()[:, 0]
        if not len(neurons):
            return
        held = self._keys[neurons]
        offered = keys[:, neurons].T
        offered = torch.where(offered <= self._bars[neurons, None], offered, NEVER)
        # Only the highest key that stays is needed, which takes less time than a sort.
        last = torch.cat([held, offered], dim=1).kthvalue(self._n_kept, dim=1).values[:, None]
        # For each neuron as many places become free as keys come in, and both are listed by neuron.
        row, place = (held > last).nonzero(as_tuple=True)
        _, excerpt = (offered <= last).nonzero(as_tuple=True)
        neuron = neurons[row]
        self._keys[neuron, place] = offered[row, excerpt]
        self._activations[neuron, place] = activations[excerpt, :, neuron]
        self._bars[neurons] = torch.minimum(self._bars[neurons], last[:, 0])

    def held(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return neuron (n,), excerpt (n,) and activations (n, n_tokens) of all kept excerpts."""
        neuron, place = (self._keys < NEVER - self._n_kept).nonzero(as_tuple=True)
        excerpts = self._keys[neuron, place] & 0xFFFFFFFF
        return neuron, excerpts, self._activations[neuron, place]
