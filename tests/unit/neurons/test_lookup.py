import numpy as np

from neurogloss.neurons.lookup import (
    MIN_COUNT,
    LookupTable,
    explain_by_lookup,
    quoted,
    simulate_by_lookup,
    top_tokens,
)

TABLE = LookupTable(np.array([2, 5, 9]), np.array([0.5, 3.0, -0.1]), default_mean=0.25)


def test_a_token_is_simulated_by_its_mean():
    assert simulate_by_lookup(TABLE, np.array([[5, 2], [9, 9]])).tolist() == [[3, 0.5], [-0.1] * 2]


def test_an_unseen_token_gets_the_mean_of_all():
    assert simulate_by_lookup(TABLE, np.array([0, 3, 100])).tolist() == [0.25] * 3


def test_an_empty_table_gives_the_mean_of_all():
    empty = LookupTable(np.array([], int), np.array([]), default_mean=0.5)
    assert simulate_by_lookup(empty, np.array([1, 2])).tolist() == [0.5, 0.5]


def test_top_tokens_are_those_of_the_highest_mean_rare_ones_last():
    means, counts = np.array([1.0, 9.0, 5.0, 5.0, 7.0]), np.array([9, MIN_COUNT - 1, 9, 9, 0])
    assert top_tokens(means, counts, 4).tolist() == [2, 3, 0, 1]


def test_explanation_names_tokens_on_one_line():
    assert (
        explain_by_lookup([" self", "\n"], [1.234, 0.5]) == 'tokens: " self" (1.23), "\\n" (0.50)'
    )


def test_control_characters_are_escaped():
    assert quoted("\x1b[31m") == '"\\x1b[31m"'
