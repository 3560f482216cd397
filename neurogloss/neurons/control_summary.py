"""A summary of the controls of a run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ControlSummary:
    """Scores of a run beside those with other neurons' explanations: its view control_summary.

    Means are over the `n` of its controlled `neurons` that have both scores. `difference` is that
    of the means, with its standard error. `undefined` counts the other neurons by reason.
    """

    neurons: int
    n: int
    score: float | None
    control_score: float | None
    difference: float | None
    standard_error: float | None
    undefined: dict[str, int]
