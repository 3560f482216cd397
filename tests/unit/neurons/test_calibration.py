import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neurogloss.neurons.calibration import calibrate, fit_linear, fit_percentile
from neurogloss.neurons.scoring import score_neuron

random = np.random.default_rng(7)
SIMULATED = random.integers(0, 11, (4, 16)).astype(np.float16)
TRUE = (0.3 * SIMULATED - 0.2 + random.normal(0, 0.3, (4, 16))).astype(np.float16)
VALUES = arrays(np.float16, (3, 5), elements=st.integers(0, 10))


def test_the_line_is_that_of_least_squares():
    line = fit_linear(TRUE, SIMULATED)
    slope, intercept = np.polyfit(
        SIMULATED.astype(np.float64).ravel(), TRUE.astype(np.float64).ravel(), 1
    )
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept))


def test_a_line_that_would_fall_is_level_at_the_mean_and_leaves_no_score():
    found = calibrate("linear", (-TRUE, SIMULATED), (TRUE, SIMULATED), 2)
    assert found.scores.undefined_reason == "negative_slope"
    assert found.scores.score is None
    assert found.line.slope == 0.0
    assert found.line.intercept == pytest.approx(float(-TRUE.astype(np.float64).mean()))


def test_a_linear_calibration_keeps_the_correlation_and_mends_the_explained_variance():
    plain = score_neuron(TRUE, SIMULATED, 2)
    found = calibrate("linear", (TRUE, SIMULATED), (TRUE, SIMULATED), 2).scores
    assert found.score == pytest.approx(plain.score)
    assert found.score_top == pytest.approx(plain.score_top)
    assert plain.rsquared < 0 < found.rsquared


def test_percentiles_match_the_true_values_of_equal_rank():
    simulated = np.array([[0, 3, 3, 9]], dtype=np.float16)
    true = np.array([[-1, 5, 2, 4]], dtype=np.float16)
    found = fit_percentile(true, simulated)
    assert found.apply(simulated).tolist() == [[-1, 3, 3, 5]]  # 3 stands for both 2 and 4
    assert found.apply(np.array([-4, 1.5, 6, 10], dtype=np.float16)).tolist() == [-1, 1, 4, 5]


@given(VALUES, VALUES, VALUES)
def test_percentiles_never_fall_and_stay_among_the_true_values(true, simulated, others):
    values = fit_percentile(true, simulated).apply(np.sort(others.ravel()))
    assert (np.diff(values) >= 0).all()
    assert true.min() <= values.min() <= values.max() <= true.max()


@pytest.mark.parametrize("kind", ["linear", "percentile"])
@given(simulated=VALUES)
def test_a_calibration_does_not_see_the_scale_of_the_simulation(kind, simulated):
    if simulated.min() == simulated.max():
        return
    true = TRUE[:3, :5]
    one, other = (
        calibrate(kind, (true, scale * simulated), (true, scale * simulated), 1).scores
        for scale in (np.float16(1), np.float16(4))
    )
    assert one.undefined_reason == other.undefined_reason
    if one.score is not None:
        assert (other.score, other.rsquared) == pytest.approx((one.score, one.rsquared))


@pytest.mark.parametrize("kind", ["linear", "percentile"])
def test_what_says_the_same_of_every_token_cannot_be_calibrated(kind):
    found = calibrate(kind, (TRUE, np.zeros_like(SIMULATED)), (TRUE, SIMULATED), 2)
    assert found.scores.undefined_reason == "constant_calibration"
    assert found.line is None
