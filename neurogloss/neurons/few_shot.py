"""Few-shot examples, shown before the neuron in question. Their text is part of call identity.

Each is a made-up neuron with its explanation and two records of (token, activation from 0 to 10).
"""

from typing import NamedTuple

TokenActivations = tuple[tuple[str, int], ...]


class FewShotExample(NamedTuple):
    explanation: str
    records: tuple[TokenActivations, ...]


def _silent(text: str) -> TokenActivations:
    """Return the words of a text, each with the space before it, with activation 0."""
    first, *others = text.split(" ")
    return ((first, 0), *((f" {word}", 0) for word in others))


EXAMPLES = (
    FewShotExample(
        "temperatures and heat levels in cooking instructions",
        (
            (
                *_silent("Cover the dish and bake it at"),
                (" 180", 8),
                (" degrees", 10),
                (" Celsius", 9),
                *_silent(" for half an hour , then turn the oven to"),
                (" low", 6),
                (" heat", 7),
                *_silent(" and wait"),
            ),
            (
                *_silent("Melt the butter over"),
                (" medium", 7),
                (" heat", 8),
                *_silent(" while you chop the onions and rinse the rice twice"),
            ),
        ),
    ),
    FewShotExample(
        "words that forbid something in contracts and rules",
        (
            (
                *_silent("The tenant shall"),
                (" not", 9),
                (" sublet", 4),
                *_silent(" the rooms , and"),
                (" no", 7),
                *_silent(" alterations are"),
                (" permitted", 5),
                *_silent(" during the term"),
            ),
            (
                *_silent("Visitors are"),
                (" prohibited", 10),
                *_silent(" from entering the laboratory after six o'clock in the evening"),
            ),
        ),
    ),
    FewShotExample(
        "names of rivers and of what lies along them",
        (
            (
                *_silent("The old trade road followed the"),
                (" Danube", 10),
                *_silent(" past three towns , left its"),
                (" bank", 6),
                *_silent(" at the border and met the"),
                (" Elbe", 9),
                *_silent(" again in the north"),
            ),
            (
                *_silent("Every spring the"),
                (" estuary", 7),
                *_silent(" fills with ships that come up the"),
                (" Thames", 10),
                *_silent(" to trade wool"),
            ),
        ),
    ),
)
