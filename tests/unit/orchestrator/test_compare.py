import numpy as np
import pytest

from neurogloss.neurons import paper
from neurogloss.neurons.paired_scores import by_layer, paired

NAN = float("nan")


def test_only_neurons_with_a_score_in_both_runs_are_compared():
    found = paired(np.array([0.1, NAN, 0.5, 0.2]), np.array([0.2, 0.9, 0.4, NAN]))
    assert (found.n, found.a_higher, found.b_higher) == (2, 1, 1)
    assert found.mean_a == pytest.approx(0.3)
    assert found.mean_b == pytest.approx(0.3)
    assert found.difference == pytest.approx(0)
    assert found.standard_error == pytest.approx(0.1)
    assert found.correlation == pytest.approx(1)


def test_runs_without_common_scores_have_no_means():
    found = paired(np.array([NAN, 0.5]), np.array([0.5, NAN]))
    assert (found.n, found.mean_a, found.difference, found.standard_error) == (0, None, None, None)


def test_a_constant_score_has_no_correlation():
    found = paired(np.array([0.5, 0.5]), np.array([0.1, 0.7]))
    assert found.correlation is None
    assert found.standard_error == pytest.approx(0.3)


def test_layers_are_compared_alone():
    layers = np.array([0, 2, 2])
    found = by_layer(layers, np.array([0.1, 0.2, 0.4]), np.array([0.3, 0.2, NAN]))
    assert {layer: (scores.n, scores.difference) for layer, scores in found.items()} == {
        0: (1, pytest.approx(0.2)),
        2: (1, 0.0),
    }


def test_the_figures_of_the_paper_are_whole():
    means = paper.layer_means()
    assert {len(values) for values in means.values()} == {paper.N_LAYERS}
    assert all(-1 <= v <= 1 for values in means.values() for v in values if v is not None)
    assert sum(value is None for values in means.values() for value in values) == 1
    explanation = [value for value in means["explanation"] if value is not None]
    assert np.mean(explanation) == pytest.approx(paper.MEAN_SCORE, abs=0.003)


@pytest.mark.parametrize(("n_layers", "expected"), [(48, list(range(48))), (2, [0, 47]), (1, [0])])
def test_layers_stand_beside_those_of_the_same_depth(n_layers, expected):
    found = [paper.layer_at_depth(layer, n_layers) for layer in range(n_layers)]
    assert found == expected
