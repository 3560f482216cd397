"""The components of a text's pass that are stored: sums of all, and the largest by each column."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from db.text_results import LARGEST, Component, GroupSum, NeuronEffects
from neurogloss.subject.effects import TextPass


class TextRanking:
    """Explained neurons by their effects, and the rest of the model.

    Args:
        found: The pass of the text.
        explained: Whether a neuron is explained, (n_layers, d_mlp).
        baseline: What its estimated effect compares with, of the same shape; NaN where nothing is.
    """

    def __init__(
        self, found: TextPass, explained: NDArray[np.bool_], baseline: NDArray[np.float64]
    ) -> None:
        self._found, self._explained = found, explained
        self._last = len(found.activations[0]) - 1
        self._direct = found.direct.neurons.cpu().numpy()
        device, dtype = found.activations[0].device, found.activations[0].dtype
        self._is_explained = torch.from_numpy(explained).to(device)
        self._baseline = torch.from_numpy(baseline).to(dtype).to(device)

    def sums(self) -> list[GroupSum]:
        """Return the direct effects of all components, by group."""
        direct = self._found.direct
        biases = [direct.attention_biases, direct.mlp_biases, torch.tensor([direct.final_bias])]
        groups = {
            "explained": self._direct[self._explained],
            "unexplained": self._direct[~self._explained],
            "head": direct.heads.cpu().numpy(),
            "embedding": np.array([direct.token, direct.position]),
            "bias": np.concatenate([part.cpu().numpy() for part in biases]),
        }
        return [
            GroupSum(group, float(effects.sum()), float(np.abs(effects).sum()))
            for group, effects in groups.items()
        ]

    def components(self) -> list[Component]:
        """Return the components that are listed, the largest first, and the rests of layers."""
        listed = list(self._listed_neurons())
        found = [*listed, *self._rests(listed), *self._others()]
        return sorted(found, key=lambda component: component.size, reverse=True)

    def neurons(self) -> list[NeuronEffects]:
        """Return the explained neurons with the largest effects, the largest first."""
        totals = np.where(self._explained, np.nan_to_num(np.abs(self._totals)), -1.0)
        direct = np.where(self._explained, np.abs(self._direct), -1.0)
        chosen = sorted({*_largest(totals), *_largest(direct)})
        found = [self._neuron(*divmod(place, self._direct.shape[1])) for place in chosen]
        return sorted(found, key=lambda neuron: abs(neuron.effect), reverse=True)

    def _neuron(self, layer: int, neuron: int) -> NeuronEffects:
        on_text = self._found.activations[layer][:, neuron].float().cpu().numpy()
        total = float(self._totals[layer, neuron])
        with np.errstate(over="ignore"):  # infinite is what is stored of such an activation
            stored = on_text.astype(np.float16)
        return NeuronEffects(
            layer=layer,
            neuron=neuron,
            activation=float(on_text[-1]),
            peak=int(self._peaks[layer, neuron]),
            max_activation=float(on_text.max()),
            direct_effect=float(self._direct[layer, neuron]),
            estimated_effect=None if np.isnan(total) else total,
            activations=stored,
        )

    def _estimated(self, layer: int) -> torch.Tensor:
        return self._found.estimated(layer, self._baseline[layer])

    @cached_property
    def _totals(self) -> NDArray[np.float64]:
        """Estimated effects through all positions together, (n_layers, d_mlp); NaN for none."""
        layers = range(len(self._direct))
        sums = [self._estimated(layer).sum(dim=0).cpu() for layer in layers]
        return torch.stack(sums).double().numpy()

    @cached_property
    def _peaks(self) -> NDArray[np.int64]:
        """The position of the largest estimated effect of each neuron, (n_layers, d_mlp)."""
        layers = range(len(self._direct))
        peaks = [self._estimated(layer).nan_to_num().abs().argmax(dim=0).cpu() for layer in layers]
        return torch.stack(peaks).numpy()

    def _listed_neurons(self) -> Iterator[Component]:
        """Yield explained neurons at positions: the largest by activation, and by each effect."""
        by_layer = [self._candidates(layer) for layer in range(len(self._direct))]
        keys: set[tuple[int, int, int]] = set()  # layer, position, neuron
        for column in range(2):  # activations and estimated effects
            rows = [row for candidates in by_layer for row in candidates[column]]
            rows.sort(key=lambda row: row[0], reverse=True)
            keys |= {place for _, place in rows[:LARGEST]}
        direct = np.where(self._explained, np.abs(self._direct), -1.0)
        for place in _largest(direct):
            layer, neuron = divmod(place, self._direct.shape[1])
            keys.add((layer, self._last, neuron))
        yield from self._components_at(sorted(keys))

    def _candidates(self, layer: int) -> list[list[tuple[float, tuple[int, int, int]]]]:
        """Return (size, place) of what may be largest, by activation and by estimated effect."""
        is_explained = self._is_explained[layer]
        width = len(is_explained)
        found = []
        for values in (self._found.activations[layer], self._estimated(layer).abs()):
            # `topk` takes NaN for the highest value.
            sizes = torch.where(is_explained & ~values.isnan(), values, -torch.inf).flatten()
            largest = sizes.topk(min(LARGEST, len(sizes)))
            rows = zip(largest.values.tolist(), largest.indices.tolist(), strict=True)
            found.append(
                [(size, (layer, *divmod(at, width))) for size, at in rows if size > -np.inf]
            )
        return found

    def _components_at(self, keys: list[tuple[int, int, int]]) -> Iterator[Component]:
        for layer in range(len(self._direct)):
            places = [(position, neuron) for of, position, neuron in keys if of == layer]
            if not places:
                continue
            positions, neurons = (torch.tensor(part) for part in zip(*places, strict=True))
            activations = self._found.activations[layer].cpu()[positions, neurons].tolist()
            estimated = self._estimated(layer).cpu()[positions, neurons].tolist()
            for (position, neuron), activation, effect in zip(
                places, activations, estimated, strict=True
            ):
                is_last = position == self._last
                yield Component(
                    kind="neuron",
                    layer=layer,
                    index=neuron,
                    position=position,
                    activation=activation,
                    direct_effect=float(self._direct[layer, neuron]) if is_last else 0.0,
                    estimated_effect=None if np.isnan(effect) else effect,
                )

    def _rests(self, listed: list[Component]) -> Iterator[Component]:
        """Yield for each layer the sums of its neurons that are not listed."""
        for layer, explained in enumerate(self._explained):
            own = [component for component in listed if component.layer == layer]
            if not explained.all():
                yield self._rest("mlp_rest", layer, ~explained, [])
            if len(own) < explained.sum() * (self._last + 1):
                yield self._rest("neuron_rest", layer, explained, own)

    def _rest(
        self, kind: str, layer: int, of: NDArray[np.bool_], listed: list[Component]
    ) -> Component:
        total = float(self._totals[layer, of].sum())
        estimated = total - sum(component.estimated_effect or 0.0 for component in listed)
        direct = self._direct[layer, of].sum() - sum(c.direct_effect for c in listed)
        return Component(
            kind=kind,
            layer=layer,
            direct_effect=float(direct),
            # A sum with a neuron that has none is none.
            estimated_effect=None if np.isnan(total) else estimated,
        )

    def _others(self) -> Iterator[Component]:
        """Yield heads, embeddings and biases."""
        direct, last = self._found.direct, self._last
        for layer, heads in enumerate(direct.heads.tolist()):
            for head, effect in enumerate(heads):
                yield Component(
                    kind="head", layer=layer, index=head, position=last, direct_effect=effect
                )
        for name, effect in (("token", direct.token), ("position", direct.position)):
            yield Component(kind="embedding", index=name, position=last, direct_effect=effect)
        for name, effects in (("attention", direct.attention_biases), ("mlp", direct.mlp_biases)):
            for layer, effect in enumerate(effects.tolist()):
                yield Component(kind="bias", layer=layer, index=name, direct_effect=effect)
        yield Component(kind="bias", index="final_norm", direct_effect=direct.final_bias)


def _largest(values: NDArray[np.float64]) -> list[int]:
    """Return the flat places of the largest values that are not negative."""
    flat = values.ravel()
    n = min(LARGEST, flat.size)
    # A partition, as the largest few of all neurons are wanted: sorting all takes much longer.
    places = np.argpartition(-flat, n - 1)[:n]
    return [int(place) for place in places if flat[place] >= 0]
