"""One neuron. Explanations and tokens are untrusted: no markup, no escapes."""

import math
from collections.abc import Callable, Sequence

from rich.console import Group
from rich.text import Text

from db.neuron_value import NeuronValue
from db.shown_records import ShownRecord
from neurogloss.neurons.records import MAX_NORMALIZED
from orchestrator.cli.terminal.plain import number, plain

SCORES = {"score": "score", "top only": "score_top", "random only": "score_random"}
Writer = Callable[[Sequence[str], Sequence[float], float], Text]


def neuron_page(value: NeuronValue, *, has_colours: bool = True) -> Group:
    """Return one neuron: explanation, scores, statistics, and records with their activations.

    Args:
        value: The neuron.
        has_colours: Whether activations can be shown as colours; else they stand after tokens.
    """
    lines = [Text(f"layer {value.layer} neuron {value.neuron} of run {value.run}: {value.state}")]
    if value.origin is not None:
        origin = f"{value.origin.source} ({value.origin.activation_function})"
        lines.append(Text(f"records from {plain(origin)}"))
    if value.reason:
        lines.append(Text(f"reason: {plain(value.reason)}"))
    lines.append(Text(plain(value.explanation or "(no explanation)"), style="bold"))
    scores = (f"{label} {number(getattr(value, key))}" for label, key in SCORES.items())
    lines.append(Text("   ".join(scores)))
    if (statistics := value.statistics) is None:
        return Group(*lines)
    lines.append(Text("   ".join(f"{name} {number(of)}" for name, of in statistics.items())))
    highest = statistics["max_activation"]
    if not has_colours:
        lines.append(Text(f"[0] to [{MAX_NORMALIZED}]: activations, of the highest"))
    write = coloured if has_colours else numbered
    return Group(*lines, *(_record_line(record, highest, write) for record in value.records))


def _record_line(record: ShownRecord, highest: float, write: Writer) -> Text:
    known = [a for a in record.activations if math.isfinite(a)]
    line = Text(f"{record.kind} {number(max(known, default=None)):>7}  ")
    return line + write(record.tokens, record.activations, highest)


def coloured(texts: Sequence[str], activations: Sequence[float], highest: float) -> Text:
    """Return tokens, the greener the stronger the neuron fires, relative to its highest."""
    line = Text()
    for text, activation in zip(texts, activations, strict=True):
        strength = 0.0 if highest <= 0 else min(1.0, max(0.0, activation / highest))
        # Below a tenth it would hardly be seen, and most tokens would be tinted.
        style = f"on rgb(0,{round(40 + 120 * strength)},0)" if strength >= 0.1 else ""
        line.append(plain(text.replace("\n", "⏎")), style=style)
    return line


def numbered(texts: Sequence[str], activations: Sequence[float], highest: float) -> Text:
    """Return tokens, those on which the neuron fires with an activation from 0 to 10 behind."""
    line = Text()
    for text, activation in zip(texts, activations, strict=True):
        share = activation / highest if highest > 0 and math.isfinite(activation) else 0.0
        level = round(MAX_NORMALIZED * min(1.0, max(0.0, share)))
        line.append(plain(text.replace("\n", "⏎")) + (f"[{level}]" if level else ""))
    return line
