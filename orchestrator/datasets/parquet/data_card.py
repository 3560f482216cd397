"""The data card (README.md) of a dataset: contents, method, scores and licences."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from db import datasets, results
from db.control_summary import control_summary
from orchestrator.datasets.description import activation_function, description_json
from orchestrator.datasets.exported import ExportedRun

PAPER = "Language models can explain neurons in language models"
UNKNOWN = "not known to neurogloss; ask whoever gave it to you before you pass it on"

# Licences of subject models and corpora, as stated by their publishers.
LICENCES: Mapping[str, str] = {
    "gpt2": "MIT (OpenAI, modified)",
    "gpt2-medium": "MIT (OpenAI, modified)",
    "gpt2-large": "MIT (OpenAI, modified)",
    "gpt2-xl": "MIT (OpenAI, modified)",
    "demo": "MIT, with neurogloss",
    "python-docs": "PSF-2.0, the documentation in Python's standard library",
    "Skylion007/openwebtext": "CC0-1.0 for the collection; the texts belong to their authors",
}

_TABLES: Mapping[str, str] = {
    "neurons": "one row a neuron: explanation, scores, moments of its activations",
    "records": "the activations of a neuron on an excerpt, and its rank among top and random ones",
    "simulations": "the activations that the simulator expects from the explanation",
    "baselines": "scores of predictions that need no explanation",
    "calibrated_scores": "scores after the simulation was brought to the scale of activations",
    "scorers": "detection and fuzzing: balanced accuracy of a model that classifies excerpts",
    "ablations": "how much of a neuron's effect on the output its simulation has",
    "controls": "scores of a sample of neurons with the explanation of another neuron, `partner`",
    "control_simulations": "what the simulator expects of them from that explanation",
    "candidates": "explanations among which one was chosen; drafts, then the revision",
    "candidate_scores": "what they were judged by",
    "sentences": "sentences that a draft was tried on, with the neuron's activations on them",
    "notes": "flags and notes that people left on neurons",
    "token_means": "the tokens of the highest mean activation, highest first",
    "related_neurons": "neurons of other layers by connection weight",
    "related_tokens": "tokens by input and output weight",
    "excerpts": "the tokens of each excerpt",
}


def data_card(connection: Connection, run: ExportedRun, tables: Sequence[str]) -> str:
    """Return the data card; `datasets.load_dataset` reads the tables from its YAML header."""
    return "\n".join(
        [
            *_header(tables),
            *_introduction(run),
            *_tables(connection, run, tables),
            *_distribution(connection, run),
            *_licences(run),
            "## Configuration",
            "",
            "```json",
            description_json(run).decode().rstrip(),
            "```",
            "",
        ]
    )


def _header(tables: Sequence[str]) -> list[str]:
    lines = ["---", "tags: [interpretability, neurons, neurogloss]", "configs:"]
    for name in tables:
        default = ["  default: true"] if name == "neurons" else []
        lines += [f"- config_name: {name}", f"  data_files: {name}/*.parquet", *default]
    return [*lines, "---", ""]


def _introduction(run: ExportedRun) -> list[str]:
    config = run.config
    source = (
        [] if run.origin is None else [f"Its records are from {_plain(run.origin.source)}.", ""]
    )
    return [
        f"# Explanations of the neurons of {_plain(config.subject.model)}",
        "",
        f'Made by neurogloss, by the method of "{PAPER}" (2023). Neurons are those of the MLP '
        f"layers, after the activation function ({_plain(activation_function(run))}); layers and "
        "neurons count from 0. Where a number is not defined it is null.",
        "",
        f"Explainer: {_role(config.explainer)}. Simulator: {_role(config.simulator)}. Scores are "
        f"correlations over {config.scoring.top} top and {config.scoring.random} random records.",
        "",
        *source,
    ]


def _role(part: object) -> str:
    kind, model = getattr(part, "kind", ""), getattr(part, "model", "")
    return kind if kind == "lookup" else f"{_plain(model)} ({kind})"


def _plain(text: str) -> str:
    """Return text without the characters that Markdown gives a meaning to."""
    return "".join(c for c in text if c.isalnum() or c in " .,:/_+-()")


def _tables(connection: Connection, run: ExportedRun, tables: Sequence[str]) -> list[str]:
    counts = datasets.counts(connection, run.row.id)
    neurons = sum(datasets.neurons_by_layer(connection, run.row.id).values())
    return [
        f"{neurons:,} neurons in {run.row.n_layers} layers; {counts['explanations']:,} "
        f"explanations, {counts['simulations']:,} simulations, {counts['scores']:,} neurons "
        "scored or with a reason for none.",
        "",
        "| table | what it holds |",
        "|---|---|",
        *(f"| `{name}` | {_TABLES[name]} |" for name in tables),
        "",
        "```python",
        'datasets.load_dataset("FOLDER", "neurons")',
        "duckdb.sql(\"select layer, avg(score) from 'FOLDER/neurons/*.parquet' group by layer\")",
        "```",
        "",
    ]


def _control(connection: Connection, run_id: int) -> list[str]:
    found = control_summary(connection, run_id)
    if found is None or not found.n:
        return []
    return [
        f"Of {found.n:,} neurons the mean score is {found.score:.3f}; with the explanations of "
        f"other neurons in place of theirs (`controls`), it is {found.control_score:.3f}.",
        "",
    ]


def _distribution(connection: Connection, run: ExportedRun) -> list[str]:
    run_id = run.row.id
    histogram = results.score_histogram(connection, run_id)
    lines = ["## Scores", "", "| score | neurons |", "|---|--:|"]
    for tenth in sorted(histogram):
        label = "below 0" if tenth < 0 else f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}"
        lines.append(f"| {label} | {histogram[tenth]:,} |")
    for reason, n in datasets.undefined_reasons(connection, run_id).items():
        lines.append(f"| none ({_plain(reason)}) | {n:,} |")
    lines += ["", *_control(connection, run_id)]
    lines += [
        "| layer | neurons | mean score | top only | random only |",
        "|--:|--:|--:|--:|--:|",
    ]
    for row in results.layer_means(connection, run_id):
        means = (row.score, row.score_top, row.score_random)
        shown = " | ".join("-" if mean is None else f"{mean:.3f}" for mean in means)
        lines.append(f"| {row.layer} | {row.n:,} | {shown} |")
    return [*lines, ""]


def _licences(run: ExportedRun) -> list[str]:
    model, corpus = run.config.subject.model, run.config.corpus.source
    return [
        "## Licences",
        "",
        f"- subject model {_plain(model)}: {LICENCES.get(model, UNKNOWN)}",
        f"- corpus {_plain(corpus)}, whose excerpts this dataset holds: "
        f"{LICENCES.get(corpus, UNKNOWN)}",
        "- explanations were written by the explainer; the terms of its provider apply to them",
        "",
    ]
