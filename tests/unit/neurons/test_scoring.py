import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neurogloss.neurons.scoring import (
    absolute_dev_explained_score,
    correlation_score,
    rsquared_score,
    score_neuron,
    score_neurons,
)

TRUE = np.array([0.0, 1.0, 4.0, 0.0])
finite = st.floats(-100, 100).map(lambda x: round(x, 3))


@pytest.mark.parametrize(
    ("simulated", "score"),
    [
        pytest.param(TRUE, 1.0, id="perfect"),
        pytest.param(2 * TRUE + 3, 1.0, id="scale and offset do not matter"),
        pytest.param(-TRUE, -1.0, id="inverted"),
        pytest.param(np.zeros(4), None, id="a constant simulation has no score"),
    ],
)
def test_the_score_is_the_correlation_and_undefined_for_a_constant(simulated, score):
    found = correlation_score(TRUE, simulated)
    assert found == (score if score is None else pytest.approx(score))


@settings(max_examples=50)
@given(arrays(np.float64, 24, elements=finite), arrays(np.float64, 24, elements=finite))
def test_correlation_is_that_of_numpy(true, simulated):
    if np.ptp(true) < 0.1 or np.ptp(simulated) < 0.1:
        return
    expected = np.corrcoef(true, simulated)[0, 1]
    assert correlation_score(true, simulated) == pytest.approx(expected, abs=1e-9)


def test_the_score_is_over_all_records_at_once():
    true = np.array([[0.0, 1.0], [10.0, 11.0]])
    simulated = np.array([[0.0, 1.0], [0.0, 1.0]])
    assert correlation_score(true[0], simulated[0]) == pytest.approx(1)
    assert correlation_score(true, simulated) < 0.2


def test_rsquared_is_over_the_mean_square_as_openai_has_it():
    assert rsquared_score(np.array([1.0, 2, 3]), np.full(3, 2.0)) == pytest.approx(0.857, abs=1e-3)


def test_absolute_deviation_explained():
    true = np.array([1.0, -2, 3])
    assert absolute_dev_explained_score(true, true + 1) == pytest.approx(0.5)


@pytest.mark.parametrize("score", [rsquared_score, absolute_dev_explained_score])
def test_a_silent_neuron_has_no_explained_share(score):
    assert score(np.zeros(4), TRUE) is None


def test_top_and_random_records_are_scored_alone_too():
    true = np.array([[0.0, 1, 2], [0, 5, 1], [3, 0, 0], [1, 1, 0]])
    simulated = np.array([[0.0, 1, 2], [0, 5, 1], [0, 3, 1], [0, 2, 2]])
    found = score_neuron(true, simulated, n_top=2)
    assert found.score_top == pytest.approx(1)
    assert found.score_random == pytest.approx(correlation_score(true[2:], simulated[2:]))
    assert found.score_random < found.score < found.score_top
    assert found.undefined_reason is None


@pytest.mark.parametrize(
    ("true", "simulated", "reason"),
    [
        (np.ones((2, 3)), np.arange(6.0).reshape(2, 3), "constant_activations"),
        (np.arange(6.0).reshape(2, 3), np.zeros((2, 3)), "constant_simulation"),
        (np.empty((0, 3)), np.empty((0, 3)), "no_records"),
    ],
)
def test_an_undefined_score_says_why(true, simulated, reason):
    found = score_neuron(true, simulated, n_top=1)
    assert (found.score, found.undefined_reason) == (None, reason)


def test_float16_does_not_overflow():
    true = np.array([[60_000, 0, 1, 2]], np.float16)
    assert score_neuron(true, true, n_top=1).score == pytest.approx(1)


@pytest.mark.parametrize("n_top", [0, 2, 5])
def test_neurons_that_are_scored_together_have_the_bits_of_each_alone(n_top):
    chance = np.random.default_rng(0)
    true = chance.normal(size=(7, 5, 33)).astype(np.float16)
    simulated = chance.normal(size=(7, 5, 33)).astype(np.float16)
    true[2], simulated[4] = 1.5, 0.0
    together = score_neurons(true, simulated, n_top)
    assert together == [score_neuron(t, s, n_top) for t, s in zip(true, simulated, strict=True)]
    reasons = [found.undefined_reason for found in together]
    assert reasons == [None, None, "constant_activations", None, "constant_simulation", None, None]


@pytest.mark.parametrize("n_top", [0, 2, 4])
def test_every_token_counts_the_same_whatever_record_it_is_of(n_top):
    random = np.random.default_rng(1)
    lengths = [[9, 1, 4, 2], [1, 9, 2, 4], [5, 5, 5, 1], [7, 7, 7, 7]]
    true, simulated = (
        [[random.normal(size=n).astype(np.float16) for n in neuron] for neuron in lengths]
        for _ in range(2)
    )
    found = score_neurons(true, simulated, n_top)
    for neuron, score in enumerate(found):
        whole, top = (
            [np.concatenate([[], *side[neuron][part]]) for side in (true, simulated)]
            for part in (slice(None), slice(n_top))
        )
        assert score.score == correlation_score(*whole)
        assert score.score_top == (correlation_score(*top) if n_top else None)
        assert score == score_neuron(true[neuron], simulated[neuron], n_top)
