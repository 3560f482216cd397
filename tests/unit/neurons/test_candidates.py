from neurogloss.neurons.candidates import best_candidate


def test_of_equals_the_first_is_chosen_and_an_undefined_score_is_the_worst():
    assert best_candidate({0: None, 1: 0.5, 2: 0.5}) == 1
    assert best_candidate({0: -0.5, 1: None}) == 0
    assert best_candidate({0: None, 1: None}) == 0
