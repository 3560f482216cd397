import numpy as np
import pytest
import torch

from neurogloss.neurons.sampling import mix, neuron_keys, priorities


def drawn(keys, n_excerpts, count):
    """The excerpts of the lowest priority, (n_neurons, count)."""
    return np.argsort(priorities(keys, np.arange(n_excerpts)[:, None]), axis=0)[:count].T


def test_neurons_draw_independently():
    found = drawn(neuron_keys(0, 3, np.arange(200)), 1000, 20)
    assert len({tuple(row) for row in found.tolist()}) == 200
    assert np.bincount(found.ravel(), minlength=1000).max() < 20  # 4 expected


def test_another_seed_or_layer_draws_others():
    first = neuron_keys(0, 0, np.arange(50))
    assert not np.array_equal(first, neuron_keys(1, 0, np.arange(50)))
    assert not np.array_equal(first, neuron_keys(0, 1, np.arange(50)))


def test_mix_is_one_to_one():
    assert len(np.unique(mix(np.arange(100_000)))) == 100_000


def test_numpy_and_torch_agree_on_priorities():
    keys, excerpts = neuron_keys(5, 2, np.arange(64)), np.arange(1000, dtype=np.int64)[:, None]
    expected = priorities(keys, excerpts)
    found = priorities(torch.from_numpy(keys), torch.from_numpy(excerpts))
    assert np.array_equal(found.numpy(), expected)
    assert expected.min() >= 0
    assert expected.max() < 2**30


def test_priorities_are_even():
    found = priorities(neuron_keys(0, 0, np.arange(300)), np.arange(300)[:, None])
    assert found.mean() == pytest.approx(2**29, rel=0.01)
