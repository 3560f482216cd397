"""A neuron as its page shows it: colours, snippets, charts and sentences, from one value."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from db.neuron_value import NeuronValue
from db.shown_records import OWN_SCALE, ScoredRecord, ShownRecord, simulated_levels, to_levels
from neurogloss.neurons.records import MAX_NORMALIZED
from neurogloss.neurons.selection import QUANTILES
from web.charts import Bar, Dot, Line, histogram_bars, marks, scatter, straight
from web.formats import neuron_address

AROUND = 8  # tokens before and after the highest one, in a snippet


class Token(NamedTuple):
    """A token with its activation, and its colour from 0 to 10."""

    text: str
    value: float | None
    level: int


class ScoredToken(NamedTuple):
    """A token as it is and as it was simulated; `numbers` has "number:percent" where likely."""

    text: str
    real: float | None
    level: int
    simulated: float | None
    simulated_level: int
    numbers: str


class Passage(NamedTuple):
    """The part of a record that is shown, around the token of the highest activation."""

    before: list[Token]
    peak: list[Token]
    after: list[Token]
    cut_before: bool
    cut_after: bool
    highest: float | None


class ScoreLine(NamedTuple):
    """A line of the table of scores. What a kind of score does not have is None."""

    name: str
    score: float | None
    top: float | None = None
    random: float | None = None
    rsquared: float | None = None
    absolute: float | None = None
    note: str = ""


class Shown(NamedTuple):
    """The selection of a page: records of a kind, in a form; all numbers of one excerpt."""

    kind: str = "top"
    form: str = "snippet"
    numbers: int | None = None


@dataclass(frozen=True)
class NeuronView:
    """The values that the template of a neuron gets.

    Attributes:
        value: The neuron.
        shown: What of it.
        is_file: Whether it becomes a file, which no server is behind.
    """

    value: NeuronValue
    shown: Shown
    is_file: bool = False

    @property
    def address(self) -> str:
        """Where the neuron's page is."""
        return neuron_address(self.value.run, self.value.layer, self.value.neuron)

    @property
    def has_bars(self) -> bool:
        """Whether tokens carry their distributions: not where the page is long already."""
        return self.shown.form != "full" and self.shown.numbers is None

    @cached_property
    def highest(self) -> float:
        """The activation that is 10 on the page's scale."""
        statistics = self.value.statistics
        return 0.0 if statistics is None else statistics["max_activation"]

    def scored_tokens(self, record: ScoredRecord) -> list[ScoredToken]:
        """Return the tokens of a record, real and simulated."""
        real = _rounded(to_levels(np.array(record.activations), self.highest))
        simulated: Sequence[float | None] = record.simulated or [None] * len(record.tokens)
        levels = [0] * len(record.tokens)
        if record.simulated is not None:
            expected = np.array(record.simulated)
            levels = _rounded(simulated_levels(expected, record.scale or "", self.highest))
        numbers = map(_numbers, record.distribution or [[]] * len(record.tokens))
        activations = map(_finite, record.activations)
        parts = (record.tokens, activations, real, simulated, levels, numbers)
        return [ScoredToken(*token) for token in zip(*parts, strict=True)]

    def tokens(self, record: ShownRecord) -> list[Token]:
        """Return all tokens of a record."""
        levels = _rounded(to_levels(np.array(record.activations), self.highest))
        parts = (record.tokens, map(_finite, record.activations), levels)
        return [Token(*token) for token in zip(*parts, strict=True)]

    def passage(self, record: ShownRecord) -> Passage:
        """Return the part of a record around its highest activation; all of it if `form` is full.

        A record without tokens has an empty one.
        """
        tokens = self.tokens(record)
        known = [-math.inf if token.value is None else token.value for token in tokens]
        peak = known.index(max(known)) if known else 0
        # As many on each side as there are tokens: the slice then holds all of them.
        around = len(tokens) if self.shown.form == "full" else AROUND
        start, stop = max(0, peak - around), peak + 1 + around
        return Passage(
            before=tokens[start:peak],
            peak=tokens[peak : peak + 1],
            after=tokens[peak + 1 : stop],
            cut_before=start > 0,
            cut_after=stop < len(tokens),
            highest=tokens[peak].value if tokens else None,
        )

    @cached_property
    def scores(self) -> list[ScoreLine]:
        """The scores of the explanation, of its calibrations, and of all that needs none."""
        value = self.value
        lines = [] if value.score_details is None else [_line("explanation", value.score_details)]
        if value.published_score is not None:
            lines.append(ScoreLine("as published", value.published_score))
        if value.control is not None:
            lines.append(_of_control(value.layer, value.control))
        for name, scores in value.calibrated.items():
            lines.append(_line(f"{name} calibration", scores))
        for name, scores in value.baselines.items():
            lines.append(_line(f"baseline {name}", scores))
        for name, result in value.scorers.items():
            lines.append(ScoreLine(name, result["score"], note=_of_scorer(result)))
        if value.ablation is not None:
            lines.append(ScoreLine("ablation", value.ablation["score"], note=_of(value.ablation)))
        return lines

    @cached_property
    def bars(self) -> list[Bar]:
        """The histogram of activations."""
        drawn = self.value.histogram
        return [] if drawn is None else histogram_bars(drawn.edges, drawn.counts)

    @cached_property
    def quantiles(self) -> list[Line]:
        """The boundaries of the quantile buckets, in the histogram."""
        drawn, boundaries = self.value.histogram, self.value.quantile_boundaries
        if drawn is None:
            return []
        names = [f"quantile {quantile:g} of the maxima of records" for quantile in QUANTILES]
        return marks(boundaries, names, drawn.edges[0], drawn.edges[-1])

    @cached_property
    def dots(self) -> list[Dot]:
        """Simulated against real activations, of all tokens of the scored records."""
        pairs = []
        for record in self.value.scored_records:
            if record.simulated is None:
                continue
            expected = np.array(record.simulated)
            simulated = simulated_levels(expected, record.scale or "", self.highest)
            real = to_levels(np.array(record.activations), self.highest)
            # Tokens whose activation is NaN or infinite have no place in a chart.
            pairs += [pair for pair in zip(simulated, real, strict=True) if np.isfinite(pair).all()]
        return scatter(pairs)

    @cached_property
    def calibration(self) -> Line | None:
        """The line of the linear calibration, if there is one that can be drawn."""
        linear = self.value.calibrated.get("linear")
        is_own = any(record.scale == OWN_SCALE for record in self.value.scored_records)
        if linear is None or linear["slope"] is None or self.highest <= 0 or is_own:
            return None
        return straight(linear["slope"], linear["intercept"], self.highest / MAX_NORMALIZED)

    def cost_from(self, stage: str) -> float | None:
        """Return what the calls from a stage on cost the last time; None where there were none."""
        # A control stays what it is: it has nothing of the neuron's own explanation.
        again = [c for c in self.value.calls if c.purpose != "control"]
        calls = [c for c in again if stage == "explain" or c.purpose == stage]
        return sum(call.usd for call in calls) if calls else None

    @property
    def usd(self) -> float:
        """The cost of all calls that rows of the neuron name."""
        return sum(call.usd + call.wasted_usd for call in self.value.calls)


def _line(name: str, scores: Mapping[str, Any]) -> ScoreLine:
    return ScoreLine(
        name,
        scores["score"],
        scores["score_top"],
        scores["score_random"],
        scores["rsquared"],
        scores["absolute_dev_explained"],
        scores["undefined_reason"] or "",
    )


def _of_control(layer: int, control: Mapping[str, Any]) -> ScoreLine:
    line = _line("control", control)
    if control["partner"] is None:
        return line
    partner = f"with the explanation of {layer}/{control['partner']}: {control['explanation']}"
    return line._replace(note=f"{line.note}, {partner}" if line.note else partner)


def _of_scorer(result: Mapping[str, Any]) -> str:
    known = f"balanced accuracy over {result['n_positive']} + {result['n_negative']} excerpts"
    auc = "" if result["auc"] is None else f", AUC {result['auc']:.2f}"
    reason = result["undefined_reason"]
    return known + auc + (f", {reason}" if reason else "")


def _of(ablation: Mapping[str, Any]) -> str:
    if ablation["undefined_reason"]:
        return str(ablation["undefined_reason"])
    simulated, mean = ablation["divergence_simulated"], ablation["divergence_mean"]
    return f"divergence {simulated:.3g} simulated, {mean:.3g} at its mean"


def _rounded(levels: Any) -> list[int]:
    return [int(level) for level in np.nan_to_num(levels).round()]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _numbers(probabilities: Sequence[float]) -> str:
    likely = ((n, round(100 * p)) for n, p in enumerate(probabilities))
    return " ".join(f"{number}:{percent}" for number, percent in likely if percent)
