"""One neuron on a terminal: explanation, scores, statistics, records with their activations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.text import Text
from sqlalchemy import Connection

from db import datasets, results, runs
from db.neuron import StoredNeuron, load_neuron
from db.records import NeuronRecordsRow
from db.results import NeuronSummary
from neurogloss.neurons.records import FloatArray, IntArray
from orchestrator.cli.terminal.plain import plain
from orchestrator.cli.terminal.views import number


@dataclass(frozen=True, slots=True)
class NeuronPage:
    """What a page about a neuron shows.

    Attributes:
        texts: The text of every token of the vocabulary.
        excerpts: The tokens of the records, int32 (n_tokens,), by excerpt.
        origin: Where its records come from, if its run did not collect them.
    """

    summary: NeuronSummary
    stored: StoredNeuron
    texts: Sequence[str]
    excerpts: Mapping[int, IntArray]
    origin: str | None


def load_page(connection: Connection, run: str, layer: int, neuron: int) -> NeuronPage | None:
    """Return what is known of a neuron; None if it is not in the run."""
    summary = results.neuron_summary(connection, run, layer, neuron)
    row = runs.find(connection, run)
    if summary is None or row is None:
        return None
    stored = load_neuron(connection, row["id"], layer, neuron)
    corpus = runs.corpus(connection, row["corpus_id"])
    texts = runs.token_texts(connection, corpus["vocabulary_id"])
    named = stored.records.excerpts if stored.records else []
    excerpts = runs.excerpts_named(connection, corpus["id"], named)
    origin = datasets.origin(connection, row["id"])
    made = f"{origin['source']} ({origin['activation_function']})" if origin else None
    return NeuronPage(summary, stored, texts, excerpts, made)


def neuron_lines(page: NeuronPage, n_records: int) -> Group:
    """Return the neuron with at most `n_records` of its top and of its random records."""
    summary, records = page.summary, page.stored.records
    place = f"layer {summary.layer} neuron {summary.neuron} of run {summary.run}"
    lines = [Text(f"{place}: {summary.state}")]
    if page.origin is not None:
        lines.append(Text(f"records from {plain(page.origin)}"))
    if summary.reason:
        lines.append(Text(f"reason: {plain(summary.reason)}"))
    lines.append(Text(plain(summary.explanation or "(no explanation)"), style="bold"))
    lines.append(_scores(summary))
    if records is not None:
        lines += [_statistics(records), *_record_lines(page, records, n_records)]
    return Group(*lines)


def _scores(summary: NeuronSummary) -> Text:
    scores = {
        "score": summary.score,
        "top only": summary.score_top,
        "random only": summary.score_random,
    }
    return Text("   ".join(f"{label} {number(score)}" for label, score in scores.items()))


def _statistics(records: NeuronRecordsRow) -> Text:
    names = ("max_activation", "mean", "variance", "skewness", "kurtosis")
    return Text("   ".join(f"{name} {number(getattr(records, name))}" for name in names))


def _record_lines(page: NeuronPage, records: NeuronRecordsRow, n_records: int) -> list[Text]:
    lines = []
    for title, places in (("top", records.top_records), ("random", records.random_records)):
        for place in places[:n_records]:
            tokens, activations = page.excerpts[records.excerpts[place]], records.activations[place]
            line = Text(f"{title} {activations.max():7.3f}  ")
            lines.append(line + coloured(tokens, activations, records.max_activation, page.texts))
    return lines


def coloured(
    tokens: IntArray, activations: FloatArray, highest: float, texts: Sequence[str]
) -> Text:
    """Return an excerpt whose tokens are the greener the stronger the neuron fires."""
    line = Text()
    for token, activation in zip(tokens.tolist(), activations.tolist(), strict=True):
        strength = 0.0 if highest <= 0 else min(1.0, max(0.0, activation / highest))
        style = f"on rgb(0,{round(40 + 120 * strength)},0)" if strength >= 0.1 else ""
        line.append(plain(texts[token].replace("\n", "⏎")), style=style)
    return line
