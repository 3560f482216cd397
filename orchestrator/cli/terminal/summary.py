"""What a run found: its scores, and the neurons that score best.

Explanations are untrusted: no markup, no escapes.
"""

from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from db.evaluations import BaselineMeans
from db.results import LayerMeans, NeuronSummary
from orchestrator.cli.terminal.plain import number, plain

BASELINES = ("lookup", "token_list", "weights")
BAR = 40  # characters of the longest bar of the histogram


def run_summary(
    histogram: Mapping[int, int], means: Sequence[LayerMeans], best: Sequence[NeuronSummary]
) -> Group:
    """Return the score distribution, the means by layer, and the best neurons."""
    return Group(_histogram(histogram), _layer_table(means), neurons_table(best))


def _histogram(histogram: Mapping[int, int]) -> Table:
    """Return a bar for each tenth from the lowest that has neurons."""
    table = Table(title="scores", title_justify="left")
    table.add_column("score")
    table.add_column("neurons", justify="right")
    table.add_column("")
    highest = max(histogram.values())
    for tenth in range(min(histogram), 10):
        count = histogram.get(tenth, 0)
        label = "below 0" if tenth < 0 else f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}"
        table.add_row(label, f"{count:,}", "█" * round(BAR * count / highest))
    return table


def _layer_table(means: Sequence[LayerMeans]) -> Table:
    table = Table(title="mean score by layer", title_justify="left")
    for heading in ("layer", "neurons", "score", "top only", "random only"):
        table.add_column(heading, justify="right")
    for row in means:
        scores = map(number, (row.score, row.score_top, row.score_random))
        table.add_row(str(row.layer), f"{row.n:,}", *scores)
    return table


def neurons_table(neurons: Sequence[NeuronSummary]) -> Table:
    """Return a table of neurons with score and explanation."""
    table = Table(title="neurons", title_justify="left")
    table.add_column("neuron", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("explanation")
    for row in neurons:
        explanation = plain(row.explanation or f"({row.state}: {row.reason})")
        table.add_row(f"{row.layer} {row.neuron}", number(row.score), Text(explanation))
    return table


def baselines_table(baselines: Sequence[BaselineMeans], means: Sequence[LayerMeans]) -> Table:
    """Return the mean score of each baseline beside that of the explanations, by layer."""
    table = Table(title="baselines: mean score by layer", title_justify="left")
    for heading in ("layer", "explanations", *BASELINES):
        table.add_column(heading.replace("_", " "), justify="right")
    of_explanations = {row.layer: row.score for row in means}
    of_baselines = {(row.layer, row.baseline): row.score for row in baselines}
    for layer in sorted({layer for layer, _ in of_baselines}):
        scores = (number(of_baselines.get((layer, baseline))) for baseline in BASELINES)
        table.add_row(str(layer), number(of_explanations.get(layer)), *scores)
    return table
