"""One neuron. Explanations and tokens are untrusted: no markup, no escapes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Group
from rich.text import Text

from db.datasets import RunOrigin
from db.records import NeuronRecordsRow
from db.results import NeuronSummary
from neurogloss.neurons.records import MAX_NORMALIZED, FloatArray
from orchestrator.cli.terminal.plain import number, plain

SCORES = {"score": "score", "top only": "score_top", "random only": "score_random"}
Writer = Callable[[Sequence[str], FloatArray, float], Text]
STATISTICS = ("max_activation", "mean", "variance", "skewness", "kurtosis")


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """An activation record as a terminal shows it: the texts and activations of its tokens."""

    kind: str
    excerpt: int
    texts: list[str]
    activations: FloatArray


@dataclass(frozen=True, slots=True)
class ShownRecords:
    """The statistics of a neuron, None before it is collected, and some of its records.

    `origin` is where the records were taken from, None where the run has collected them itself.
    """

    origin: RunOrigin | None
    statistics: NeuronRecordsRow | None
    records: list[ShownRecord]


def neuron_page(summary: NeuronSummary, shown: ShownRecords, *, has_colours: bool = True) -> Group:
    """Return one neuron: explanation, scores, statistics, and records with their activations.

    Args:
        summary: Its row of the view neuron_summary.
        shown: Its statistics and records.
        has_colours: Whether activations can be shown as colours; else they stand after tokens.
    """
    place = f"layer {summary.layer} neuron {summary.neuron}"
    lines = [Text(f"{place} of run {summary.run}: {summary.state}")]
    if shown.origin is not None:
        origin = f"{shown.origin.source} ({shown.origin.activation_function})"
        lines.append(Text(f"records from {plain(origin)}"))
    if summary.reason:
        lines.append(Text(f"reason: {plain(summary.reason)}"))
    lines.append(Text(plain(summary.explanation or "(no explanation)"), style="bold"))
    scores = (f"{label} {number(getattr(summary, key))}" for label, key in SCORES.items())
    lines.append(Text("   ".join(scores)))
    if (statistics := shown.statistics) is None:
        return Group(*lines)
    lines.append(
        Text("   ".join(f"{name} {number(getattr(statistics, name))}" for name in STATISTICS))
    )
    highest = statistics.max_activation
    if not has_colours:
        lines.append(Text(f"[0] to [{MAX_NORMALIZED}]: activations, of the highest"))
    write = coloured if has_colours else numbered
    return Group(*lines, *(_record_line(record, highest, write) for record in shown.records))


def _record_line(record: ShownRecord, highest: float, write: Writer) -> Text:
    known = record.activations[np.isfinite(record.activations)]
    line = Text(f"{record.kind} {number(float(known.max()) if known.size else None):>7}  ")
    return line + write(record.texts, record.activations, highest)


def coloured(texts: Sequence[str], activations: FloatArray, highest: float) -> Text:
    """Return tokens, the greener the stronger the neuron fires, relative to its highest."""
    line = Text()
    for text, activation in zip(texts, activations.tolist(), strict=True):
        strength = 0.0 if highest <= 0 else min(1.0, max(0.0, activation / highest))
        # Below a tenth it would hardly be seen, and most tokens would be tinted.
        style = f"on rgb(0,{round(40 + 120 * strength)},0)" if strength >= 0.1 else ""
        line.append(plain(text.replace("\n", "⏎")), style=style)
    return line


def numbered(texts: Sequence[str], activations: FloatArray, highest: float) -> Text:
    """Return tokens, those on which the neuron fires with an activation from 0 to 10 behind."""
    line = Text()
    for text, activation in zip(texts, activations.tolist(), strict=True):
        share = activation / highest if highest > 0 and np.isfinite(activation) else 0.0
        level = round(MAX_NORMALIZED * min(1.0, max(0.0, share)))
        line.append(plain(text.replace("\n", "⏎")) + (f"[{level}]" if level else ""))
    return line
