"""The choice among the candidates for a neuron's explanation."""

from collections.abc import Mapping


def best_candidate(scores: Mapping[int, float | None]) -> int:
    """Return the number of the candidate with the highest score.

    The lowest number wins among equals. A candidate without a score loses to any that has one.
    """
    # The number breaks ties, so that the choice does not depend on the order of rows.
    return min(scores, key=lambda number: (-_or_lowest(scores[number]), number))


def _or_lowest(score: float | None) -> float:
    return float("-inf") if score is None else score
