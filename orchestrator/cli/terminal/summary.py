"""The results of a run: its scores, and the neurons that score best.

Explanations are untrusted: no markup, no escapes.
"""

from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.text import Text

from db.embeddings import NearNeuron
from db.evaluations import BaselineMeans
from db.results import LayerMeans, NeuronSummary
from orchestrator.cli.terminal.plain import number, plain
from orchestrator.cli.terminal.whole_table import WholeTable

BASELINES = ("lookup", "token_list", "weights")
BAR = 40  # characters of the longest bar of the histogram


def run_summary(
    histogram: Mapping[int, int], means: Sequence[LayerMeans], best: Sequence[NeuronSummary]
) -> Group:
    """Return the score distribution, the means by layer, and the best neurons."""
    return Group(_histogram(histogram), _layer_table(means), neurons_table(best))


def _histogram(histogram: Mapping[int, int]) -> WholeTable:
    """Return a bar for each tenth from the lowest that has neurons."""
    table = WholeTable("scores", texts=("score",), numbers=("neurons",))
    table.add_column("")
    highest = max(histogram.values())
    for tenth in range(min(histogram), 10):
        count = histogram.get(tenth, 0)
        label = "below 0" if tenth < 0 else f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}"
        table.add_row(label, f"{count:,}", "█" * round(BAR * count / highest))
    return table


def _layer_table(means: Sequence[LayerMeans]) -> WholeTable:
    headings = ("layer", "neurons", "score", "top only", "random only")
    table = WholeTable("mean score by layer", numbers=headings)
    for row in means:
        scores = map(number, (row.score, row.score_top, row.score_random))
        table.add_row(str(row.layer), f"{row.n:,}", *scores)
    return table


def neurons_table(neurons: Sequence[NeuronSummary]) -> WholeTable:
    """Return a table of neurons with score and explanation."""
    table = WholeTable("neurons", numbers=("neuron", "score"))
    table.add_column("explanation")
    for row in neurons:
        explanation = plain(row.explanation or f"({row.state}: {row.reason})")
        table.add_row(f"{row.layer} {row.neuron}", number(row.score), Text(explanation))
    return table


def near_neurons_table(neurons: Sequence[NearNeuron]) -> WholeTable:
    """Return a table of neurons with their similarity to what was searched for."""
    table = WholeTable("neurons by meaning", numbers=("neuron", "similarity", "score"))
    table.add_column("explanation")
    for row in neurons:
        numbers = (number(row.similarity), number(row.score))
        table.add_row(f"{row.layer} {row.neuron}", *numbers, Text(plain(row.explanation)))
    return table


def baselines_table(baselines: Sequence[BaselineMeans], means: Sequence[LayerMeans]) -> WholeTable:
    """Return the mean score of each baseline beside that of the explanations, by layer."""
    headings = ("layer", "explanations", *(name.replace("_", " ") for name in BASELINES))
    table = WholeTable("baselines: mean score by layer", numbers=headings)
    of_explanations = {row.layer: row.score for row in means}
    of_baselines = {(row.layer, row.baseline): row.score for row in baselines}
    for layer in sorted({layer for layer, _ in of_baselines}):
        scores = (number(of_baselines.get((layer, baseline))) for baseline in BASELINES)
        table.add_row(str(layer), number(of_explanations.get(layer)), *scores)
    return table
