"""The evidence for a run's results, and warnings that they may mean nothing."""

from collections.abc import Iterator

from neurogloss.neurons.alarms import Evidence, alarms_of
from neurogloss.neurons.control_summary import ControlSummary
from orchestrator.cli.terminal.plain import number, plain


def control_line(control: ControlSummary) -> str:
    """Return what scores are with other neurons' explanations, and why some are not known."""
    undefined = ", ".join(f"{n:,} {plain(reason)}" for reason, n in control.undefined.items())
    without = f"; without control: {undefined}" if undefined else ""
    if not control.n:
        return f"no score has a control yet{without}"
    return (
        f"mean score {number(control.score)}, with other neurons' explanations "
        f"{number(control.control_score)}, over {control.n:,} neurons{without}"
    )


def alarm_lines(evidence: Evidence) -> Iterator[str]:
    """Yield the coverage of simulations and the control of scores, if there are any; warnings."""
    if evidence.covered is not None:
        yield f"numbers cover {evidence.covered:.1%} of the probability, on average of simulations"
    if evidence.control is not None:
        yield control_line(evidence.control)
    for alarm in alarms_of(evidence):
        yield plain(f"warning: {alarm}")
