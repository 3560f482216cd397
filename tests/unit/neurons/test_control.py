"""Partners of controlled neurons."""

from neurogloss.neurons.control import draw_controlled, in_order, partner_of

NEURONS = range(100)


def test_the_order_of_partners_is_a_shuffle_of_its_own_for_each_layer_and_seed():
    orders = [in_order(seed, layer, NEURONS) for seed in (0, 1) for layer in (0, 1)]
    assert all(sorted(order) == list(NEURONS) for order in orders)
    assert len(set(map(tuple, orders))) == 4
    assert in_order(0, 1, list(NEURONS)[::-1]) == in_order(0, 1, NEURONS)


def test_a_partner_is_the_next_with_an_explanation_and_the_first_follows_the_last():
    order = [3, 1, 4, 5, 9]
    assert [partner_of(n, order, order) for n in order] == [1, 4, 5, 9, 3]
    assert [partner_of(n, order, {1, 9}) for n in order] == [1, 9, 9, 9, 1]
    assert [partner_of(n, order, {4}) for n in order] == [4, 4, None, 4, 4]
    assert partner_of(3, order, set()) is None


def test_drawing_is_seeded_and_without_repetition():
    drawn = draw_controlled(7, 10_000, 0.01)
    assert len(set(drawn)) == 100
    assert drawn == sorted(drawn) == draw_controlled(7, 10_000, 0.01)
    assert drawn != draw_controlled(8, 10_000, 0.01)
    assert draw_controlled(7, 12, 0.01) == list(range(12))
