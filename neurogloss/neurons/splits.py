"""Splits of a neuron's records: `train` is shown to the explainer, `valid` is scored.

Splits interleave, as in the code that OpenAI released, so that each has records of high and of low
rank.
"""

from collections.abc import Sequence
from enum import StrEnum


class Split(StrEnum):
    TRAIN = "train"
    CALIBRATION = "calibration"
    VALID = "valid"
    TEST = "test"


TOP_SPLITS = (Split.TRAIN, Split.CALIBRATION, Split.VALID, Split.TEST)
# The explainer is shown top records only, so that `train` has no random ones.
RANDOM_SPLITS = (Split.CALIBRATION, Split.VALID, Split.TEST)


def top_slice(split: Split, per_split: int) -> slice:
    """Return the slice of a split of the top records; `train` of 5 has ranks 0, 4, 8, 12 and 16."""
    return _slice(TOP_SPLITS, split, per_split)


def random_slice(split: Split, per_split: int) -> slice:
    """Return the slice of a split of the random records.

    Raises:
        ValueError: The split is `train`, which has no random records.
    """
    return _slice(RANDOM_SPLITS, split, per_split)


def _slice(splits: tuple[Split, ...], split: Split, per_split: int) -> slice:
    if split not in splits:
        raise ValueError(f"no records are in split {split}; there are {', '.join(splits)}")
    return slice(splits.index(split), per_split * len(splits), len(splits))


def split_places(
    top_records: Sequence[int],
    random_records: Sequence[int],
    split: Split,
    n_top: int,
    n_random: int,
) -> tuple[list[int], int]:
    """Return the places of the records of a split, and how many of them are top records.

    Args:
        top_records: Places of a neuron's top records among its records, highest first.
        random_records: Places of its random records, in the order in which they were drawn.
        split: Not `train`, which has no random records.
        n_top: How many top records each split has; fewer where the neuron has fewer.
        n_random: How many random records each split has.
    """
    top = top_records[top_slice(split, n_top)]
    drawn = random_records[random_slice(split, n_random)]
    return [*top, *drawn], len(top)
