"""The paper's figures, and where they stand beside other models."""

import numpy as np
import pytest

from neurogloss.neurons import paper


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
