"""What a run's results rest on, and signs that they mean nothing."""

from collections.abc import Iterator

from neurogloss.neurons.alarms import Evidence, alarms_of


def alarm_lines(evidence: Evidence) -> Iterator[str]:
    """Yield the coverage of the simulations, if they have one, and the warnings."""
    if evidence.covered is not None:
        yield f"numbers cover {evidence.covered:.1%} of the probability, on average of simulations"
    for alarm in alarms_of(evidence):
        yield f"warning: {alarm}"
