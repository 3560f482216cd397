"""Neurons are grouped by a word of their explanations."""

from neurogloss.neurons.grouping import ExplanationGroup, group_by_words


def test_the_word_with_the_most_effect_behind_it_comes_first():
    explanations = ["Names of rivers", "French cities", "rivers in Asia", "cities", "verbs"]
    groups = group_by_words(explanations, [0.1, -3.0, 0.2, 1.0, 9.0])
    assert groups == [
        ExplanationGroup("cities", [1, 3]),
        ExplanationGroup("rivers", [0, 2]),
        ExplanationGroup(None, [4]),
    ]


def test_function_words_and_words_that_most_have_make_no_group():
    explanations = ["tokens about x", "tokens about cats", None, "tokens cats", "tokens", "the"]
    (cats, rest) = group_by_words(explanations, [1.0] * 6)
    assert (cats.word, cats.members, rest.word) == ("cats", [1, 3], None)
    common = ["code alpha", "code beta", "code gamma", "prose alpha"]
    assert group_by_words(common, [1.0] * 4)[0].word == "alpha"


def test_every_neuron_is_in_one_group_and_the_groups_are_bounded():
    explanations = [f"pair{'abcdefghijklmnopqrst'[n // 2]}" for n in range(40)]
    groups = group_by_words(explanations, [float(n) for n in range(40)], n=3)
    assert [group.word for group in groups] == ["pairt", "pairs", "pairr", None]
    assert sorted(place for group in groups for place in group.members) == list(range(40))
    assert group_by_words([], []) == []
