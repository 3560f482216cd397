"""Signs that a run's explanations or simulations mean nothing, though nothing has failed.

A model that is too weak, or does not listen, answers in the right form, and scores look plausible.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neurogloss.neurons.control_summary import ControlSummary
from neurogloss.neurons.few_shot import EXAMPLES, TOKENS_EXAMPLES

LITTLE_COVERED = 0.5  # below it a simulation rests on the smaller part of what a model expects
# A few equal answers are chance; a fifth of all are not, as each is about another question.
SAME, FEWEST_SAME = 0.2, 4  # share and number of answers that are the same as one another
# Where the answer is 0 throughout: that is right for most texts of most neurons.
SAME_ZEROS, FEWEST_ZEROS = 0.95, 10
REPEATED = 0.01  # share of explanations that repeat an example
FEWEST_COMPARED = 5  # neurons with a control: a difference over fewer says nothing
# Difference of mean scores below which a simulator does not seem to listen: about an eighth of the
# paper's mean score, which is 0.151.
NO_BETTER = 0.02
STANDARD_ERRORS = 2  # of that difference, within which it may be chance
FEWEST_NEURONS = 50  # a share of fewer says nothing
UNDEFINED, FAILED = 0.2, 0.05  # share of scores, and of neurons
_SHOWN = [e.explanation for e in EXAMPLES] + [e.explanation for e in TOKENS_EXAMPLES]
_OF_EXAMPLES = {explanation.casefold() for explanation in _SHOWN}


@dataclass(frozen=True, slots=True)
class ScoreCounts:
    """How many neurons have a score, a reason for none, and a failure in place of either."""

    scored: int = 0
    undefined: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence for alarms: a sample of the results of a run.

    Attributes:
        explanations: Texts.
        answers: Expected activations, as stored bytes, each about another question.
        covered: The mean probability of all numbers together; None without log probabilities.
        control: Scores beside those with other neurons' explanations; None in a run without.
        scores: Of all neurons.
        devices: The kinds of device that activations were computed on.
    """

    explanations: Sequence[str]
    answers: Sequence[bytes]
    covered: float | None
    control: ControlSummary | None = None
    scores: ScoreCounts = ScoreCounts()
    devices: Sequence[str] = ()


def alarms_of(evidence: Evidence) -> list[str]:
    """Return a sentence for each sign that the results mean nothing."""
    return [
        *_about_coverage(evidence.covered),
        *_about_control(evidence.control),
        *_about_answers(evidence.answers),
        *_about_explanations(evidence.explanations),
        *_about_scores(evidence.scores),
        *about_devices(evidence.devices),
    ]


def _about_coverage(covered: float | None) -> Iterator[str]:
    if covered is not None and covered < LITTLE_COVERED:
        yield (
            f"simulations rest on {covered:.1%} of the probability (alarm below "
            f"{LITTLE_COVERED:.0%}): the simulator mostly expects other tokens than numbers"
        )


def _about_control(control: ControlSummary | None) -> Iterator[str]:
    if control is None or control.n < FEWEST_COMPARED:
        return
    assert control.difference is not None  # of so many neurons
    least = max(NO_BETTER, STANDARD_ERRORS * (control.standard_error or 0.0))
    if control.difference < least:
        yield (
            f"scores are no better than control: mean {control.score:.3f}, with other neurons' "
            f"explanations {control.control_score:.3f}, over {control.n:,} neurons (alarm where "
            f"less than {least:.3f} lies between): the simulator does not seem to use explanations"
        )


def _about_answers(answers: Sequence[bytes]) -> Iterator[str]:
    counts = Counter(answers)
    silent = {answer: n for answer, n in counts.items() if not any(answer)}
    speaking = {answer: n for answer, n in counts.items() if any(answer)}
    for some, share, fewest in (
        (speaking, SAME, FEWEST_SAME),
        (silent, SAME_ZEROS, FEWEST_ZEROS),
    ):
        n = _most(some)
        if n >= max(fewest, share * len(answers)):
            yield (
                f"{n:,} of {len(answers):,} simulations are the same, though the questions differ "
                f"(alarm from {share:.0%}): the simulator does not seem to read them"
            )


def _about_explanations(texts: Sequence[str]) -> Iterator[str]:
    explanations = Counter(text.casefold() for text in texts)
    repeated = sum(n for text, n in explanations.items() if text in _OF_EXAMPLES)
    if repeated and repeated >= REPEATED * len(texts):
        yield (
            f"{repeated:,} of {len(texts):,} explanations repeat an example of the prompt (alarm "
            f"from {REPEATED:.0%})"
        )
    n = _most(explanations)
    if n >= max(FEWEST_SAME, SAME * len(texts)):
        yield f"{n:,} of {len(texts):,} explanations are the same (alarm from {SAME:.0%})"


def _about_scores(counts: ScoreCounts) -> Iterator[str]:
    looked_at = counts.scored + counts.undefined
    if looked_at >= FEWEST_NEURONS and counts.undefined >= UNDEFINED * looked_at:
        yield (
            f"{counts.undefined / looked_at:.0%} of {looked_at:,} scores are undefined, as for "
            f"constant simulations or dead neurons (alarm from {UNDEFINED:.0%})"
        )
    neurons = looked_at + counts.failed
    if neurons >= FEWEST_NEURONS and counts.failed >= FAILED * neurons:
        yield (
            f"{counts.failed / neurons:.0%} of neurons failed, {counts.failed:,} of them (alarm "
            f"from {FAILED:.0%})"
        )


def about_devices(devices: Sequence[str]) -> Iterator[str]:
    """Yield that activations were computed on several kinds of device, if they were."""
    if len(devices) > 1:
        yield (
            f"activations were computed on {len(devices)} kinds of device, whose last bits differ: "
            f"{'; '.join(devices)}"
        )


def _most(counts: Mapping[Any, int]) -> int:
    return max(counts.values(), default=0)
