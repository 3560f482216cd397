"""Keeps, for every neuron of a layer, the activations of the excerpts that come first by a key."""

import torch

from neurogloss.neurons.selection import NEVER


class LowestKeys:
    """The `n_kept` excerpts of the lowest keys for each neuron, with their activations.

    Keys are int64 and hold the excerpt in their low 32 bits, so no two of a neuron are equal and
    what is kept does not depend on the order in which excerpts arrive. `bars`, int64 (n_neurons,),
    are keys that an excerpt must not exceed to be kept.
    """

    def __init__(self, bars: torch.Tensor, n_kept: int, n_tokens: int) -> None:
        self._bars = bars.clone()
        self._n_kept = n_kept
        # An empty place has a key of its own above all real ones: all keys of a neuron differ.
        empty = torch.arange(NEVER - n_kept, NEVER, device=bars.device)
        self._keys = empty.expand(len(bars), -1).clone()
        self._activations = torch.empty(
            (len(bars), n_kept, n_tokens), dtype=torch.float16, device=bars.device
        )

    def offer(self, keys: torch.Tensor, activations: torch.Tensor) -> None:
        """Take what comes before something kept, in its place.

        Args:
            keys: int64 of shape (batch, n_neurons); NEVER where not to be kept.
            activations: float16 of shape (batch, position, n_neurons).
        """
        if not self._n_kept:
            return
        neurons = (keys <= self._bars).any(0).nonzero()[:, 0]  # most batches change few neurons
        if not len(neurons):
            return
        held = self._keys[neurons]
        offered = keys[:, neurons].T
        offered = torch.where(offered <= self._bars[neurons, None], offered, NEVER)
        last = torch.cat([held, offered], dim=1).kthvalue(self._n_kept, dim=1).values[:, None]
        # As many places fall free as keys come in, and both are listed neuron by neuron.
        row, place = (held > last).nonzero(as_tuple=True)
        _, excerpt = (offered <= last).nonzero(as_tuple=True)
        neuron = neurons[row]
        self._keys[neuron, place] = offered[row, excerpt]
        self._activations[neuron, place] = activations[excerpt, :, neuron]
        self._bars[neurons] = torch.minimum(self._bars[neurons], last[:, 0])

    def held(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return neuron (n,), excerpt (n,) and activations (n, n_tokens) of all that is kept."""
        neuron, place = (self._keys < NEVER - self._n_kept).nonzero(as_tuple=True)
        excerpts = self._keys[neuron, place] & 0xFFFFFFFF
        return neuron, excerpts, self._activations[neuron, place]
