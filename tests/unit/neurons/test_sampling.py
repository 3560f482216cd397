import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.neurons.sampling import mix, neuron_keys, priorities, random_excerpts


@settings(max_examples=30)
@given(st.integers(1, 3000), st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_random_excerpts_are_distinct_and_of_the_corpus(n_excerpts, key, count):
    drawn = random_excerpts(np.array([key]), n_excerpts, count)[0].tolist()
    assert len(set(drawn)) == len(drawn) == min(count, n_excerpts)
    assert set(drawn) <= set(range(n_excerpts))


def test_drawing_all_excerpts_draws_each_once():
    assert sorted(random_excerpts(np.array([7]), 100, 100)[0].tolist()) == list(range(100))


def test_neurons_draw_independently():
    keys = neuron_keys(0, 3, np.arange(200))
    drawn = random_excerpts(keys, 1000, 20)
    assert len({tuple(row) for row in drawn.tolist()}) == 200
    assert np.bincount(drawn.ravel(), minlength=1000).max() < 20  # 4 expected


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
    assert expected.max() < 2**31


def test_priorities_are_even():
    found = priorities(neuron_keys(0, 0, np.arange(300)), np.arange(300)[:, None])
    assert found.mean() == pytest.approx(2**30, rel=0.01)
