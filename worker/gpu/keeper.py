"""Keeps, for every neuron of a layer, the activations of the excerpts that come first by a key."""

import torch

NEVER = torch.iinfo(torch.int64).max  # the key of an excerpt that a neuron must not keep


class Keeper:
    """The `n_kept` excerpts of the lowest keys for each neuron, with their activations.

    Keys are int64 and hold the excerpt in their low 32 bits, so no two of a neuron are equal and
    what is kept does not depend on the order in which excerpts arrive.
    """

    def __init__(self, n_neurons: int, n_kept: int, n_tokens: int, device: torch.device) -> None:
        self.keys = torch.full((n_neurons, n_kept), NEVER, device=device)
        self.activations = torch.zeros(
            (n_neurons, n_kept, n_tokens), dtype=torch.float16, device=device
        )

    def offer(self, keys: torch.Tensor, activations: torch.Tensor) -> None:
        """Take what comes before something kept.

        Args:
            keys: int64 of shape (batch, n_neurons); NEVER where not to be kept.
            activations: float16 of shape (batch, position, n_neurons).
        """
        n_kept = self.keys.shape[1]
        worth = (keys < self.keys.amax(1)).any(0)  # most batches change few neurons
        rows = worth.nonzero()[:, 0]
        if not len(rows):
            return
        held = self.keys[rows]
        merged, source = torch.cat([held, keys[:, rows].T], dim=1).sort(dim=1)
        source = source[:, :n_kept]
        kept = self.activations[rows].gather(
            1, source.clamp(max=n_kept - 1)[:, :, None].expand(-1, -1, activations.shape[1])
        )
        new_row, new_place = (source >= n_kept).nonzero(as_tuple=True)
        new_excerpt = source[new_row, new_place] - n_kept
        kept[new_row, new_place] = activations[new_excerpt, :, rows[new_row]]
        self.keys[rows] = merged[:, :n_kept]
        self.activations[rows] = kept

    def held(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return neuron (n,), excerpt (n,) and activations (n, n_tokens) of all that is kept."""
        neuron, place = (self.keys != NEVER).nonzero(as_tuple=True)
        excerpts = self.keys[neuron, place] & 0xFFFFFFFF
        return neuron, excerpts, self.activations[neuron, place]


def descending(maxima: torch.Tensor, excerpts: torch.Tensor) -> torch.Tensor:
    """Return keys that put the highest maximum first, ties to the lower excerpt.

    Args:
        maxima: float16 of shape (batch, n_neurons), finite.
        excerpts: int64 of shape (batch,).
    """
    bits = (maxima + 0.0).view(torch.int16).to(torch.int64)  # + 0.0: no negative zero
    rising = torch.where(bits < 0, -0x8000 - bits, bits)  # float16 as integers in the same order
    return ((0x8000 - rising) << 32) | excerpts[:, None]
