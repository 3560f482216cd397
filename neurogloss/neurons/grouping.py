"""Groups of neurons by what their explanations have in common: a word.

The first group is that of the word with the most weight, the next one that of the heaviest word
among the rest. Function words, and words that most explanations have, do not distinguish neurons.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[^\W\d_]{3,}")
_FUNCTION_WORDS = frozenset(
    {
        "the", "and", "for", "are", "was", "were", "with", "that", "this", "these", "those",
        "from", "into", "about", "when", "where", "which", "who", "whom", "whose", "such",
        "other", "any", "all", "some", "not", "but", "its", "their", "there", "then", "than",
        "have", "has", "had", "been", "being", "also", "each", "may", "can", "will", "would",
        "should", "could", "especially", "specifically", "particularly", "various", "related",
        "token", "tokens", "word", "words", "text", "phrase", "phrases", "neuron",
    }
)  # fmt: skip
_COMMON = 0.5  # the share of explanations above which a word does not distinguish them


@dataclass(frozen=True, slots=True)
class ExplanationGroup:
    """Explanations, by their places in order, that have a word in common; None for the rest."""

    word: str | None
    members: list[int]


def group_by_words(
    explanations: Sequence[str | None], weights: Sequence[float], n: int = 8
) -> list[ExplanationGroup]:
    """Return up to `n` groups of at least two, and one of what is left, if anything is.

    Args:
        explanations: None where a neuron has none.
        weights: How much each counts; the groups come in the order of the sums.
        n: The most groups.
    """
    words = [_words(explanation or "") for explanation in explanations]
    counts = Counter(word for found in words for word in found)
    common = {word for word, count in counts.items() if count > max(2, _COMMON * len(words))}
    left = dict(enumerate(found - common for found in words))
    groups: list[ExplanationGroup] = []
    while len(groups) < n and (word := _heaviest(left, weights)) is not None:
        members = [place for place, found in left.items() if word in found]
        groups.append(ExplanationGroup(word, members))
        left = {place: found for place, found in left.items() if place not in members}
    return [*groups, *([ExplanationGroup(None, list(left))] if left else [])]


def _words(explanation: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(explanation)} - _FUNCTION_WORDS


def _heaviest(left: dict[int, set[str]], weights: Sequence[float]) -> str | None:
    """Return the word of at least two explanations with the most weight; the first of equals."""
    having: defaultdict[str, list[float]] = defaultdict(list)
    for place, words in left.items():
        for word in words:
            having[word].append(abs(weights[place]))
    shared = [(-sum(found), word) for word, found in having.items() if len(found) > 1]
    # By weight, then by the alphabet: sets have no order, and the page must not change by itself.
    return min(shared)[1] if shared else None
