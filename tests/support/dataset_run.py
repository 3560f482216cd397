"""A small run with everything that a dataset has trouble with."""

from dataclasses import astuple

import numpy as np

from db import connections, corpora, imports, results, runs
from db.connections import RelatedNeuronsRow, RelatedTokensRow
from db.records import NeuronRecordsRow, TokenMeansRow, neuron_records, token_means
from db.results import ExplanationRow, ScoreRow, SimulationRow
from neurogloss.config.run import RunConfig
from neurogloss.neurons.scoring import score_neuron
from neurogloss.neurons.splits import Split, random_slice, top_slice

TOKENS, LAYERS, NEURONS, EXCERPTS = 8, 2, 6, 40
TEXTS = (
    "", " ", "\t", "\n", " \n", "\u00a0", "\u200b", "\ufffd", "\ufffd", "\\n", '"', '{"0":',
    "<start>", "<|endoftext|>", "🦀", "Ω", "\u2028", "<b>", "word", " of", "\x1b[31m",
)  # fmt: skip
DEAD, UNEXPLAINED, FAILED, CONSTANT = 1, 2, 3, 4
CONFIG = {
    "name": "source",
    "subject": {"model": "demo"},
    "corpus": {"source": "python-docs", "excerpts": EXCERPTS, "excerpt_tokens": TOKENS},
    "records": {"top": 8, "random": 6, "per_quantile": 1},
    "scoring": {"top": 2, "random": 2},
    "explainer": {"kind": "llm", "endpoint": "e", "model": "an-explainer"},
    "simulator": {"kind": "echo_logprobs", "endpoint": "e", "model": "a-simulator"},
    "endpoints": {"e": {"base_url": "http://secret.example/v1", "api_key_env": "SECRET_KEY"}},
}


def make_run(engine, name="source"):
    """Store the run and return its id. Its rows are made of seeded random numbers."""
    random = np.random.default_rng(0)
    config = RunConfig.model_validate({**CONFIG, "name": name})
    excerpts = random.integers(0, len(TEXTS), (EXCERPTS, TOKENS), dtype=np.int32)
    excerpts[5], excerpts[17] = excerpts[6], excerpts[6]  # the text stands in the corpus thrice
    with engine.begin() as connection:
        vocabulary = corpora.save_vocabulary(connection, "v", TEXTS)
        corpus = {
            "digest": "c", "vocabulary_id": vocabulary, "source": "python-docs",
            "n_excerpts": EXCERPTS, "excerpt_tokens": TOKENS, "n_documents": 1,
            "n_documents_too_short": 0, "n_windows": 1,
        }  # fmt: skip
        rows = [(f"document {i}", i, e.tobytes()) for i, e in enumerate(excerpts)]
        run = {
            "name": name, "config": config.model_dump(mode="json"), "config_hash": config.digest(),
            "corpus_id": corpora.save_corpus(connection, corpora.NewCorpus(**corpus), rows),
            "n_layers": LAYERS, "neurons_per_layer": NEURONS,
        }  # fmt: skip
        run_id = runs.create(connection, runs.NewRun(**run))
        for layer in range(LAYERS):
            for neuron in range(NEURONS):
                _add_neuron(connection, (run_id, layer, neuron), random)
        imports.finish(connection, run_id)
    return run_id


def _add_neuron(connection, place, random):
    run_id, layer, neuron = place
    others = random.choice(np.arange(18, EXCERPTS), 13, replace=False).tolist()
    chosen = [5, 6, 17, *others]
    scale = np.float16(2.0) ** random.integers(-6, 6)
    activations = (random.standard_normal((16, TOKENS)) * scale).astype(np.float16)
    activations[1] = activations[0]  # the same text, the same activations
    activations[2, 0] = -activations[0, 0]  # the same text, other activations
    if neuron == DEAD:
        activations = -np.abs(activations)
    top, drawn = [3, 4, 0, 5, 6, 7, 1, 8], [0, 2, 9, 10, 3, 11]
    dead = "dead" if neuron == DEAD else None
    highest = float(activations[top].max())
    boundaries = np.sort(random.standard_normal(4)).astype(np.float32).tolist()
    mean, variance, kurtosis = (0.1, 1 / 3, 1e-9) if neuron else (-0.0, 0.0, None)
    bucket_records, buckets = ([12, 13, 14, 15], [0, 1, 1, 4]) if neuron % 2 else ([], [])
    row = NeuronRecordsRow(
        run_id=run_id,
        layer=layer,
        neuron=neuron,
        excerpts=chosen,
        activations=activations,
        top_records=top,
        random_records=drawn,
        bucket_records=bucket_records,
        buckets=buckets,
        quantile_boundaries=boundaries,
        max_activation=highest,
        mean=mean,
        variance=variance,
        skewness=None,
        kurtosis=kurtosis,
        n_tokens=EXCERPTS * TOKENS,
        undefined_reason=dead,
    )
    neuron_records.save(connection, [row])
    _add_connections(connection, place, random)
    if neuron == DEAD:
        results.scores.save(connection, [ScoreRow(*place, *[None] * 5, "dead")])
    if neuron in (DEAD, UNEXPLAINED):
        return
    text = f" fires on <b>{layer}</b>\n\x1b[31m{neuron}."
    results.explanations.save(connection, [ExplanationRow(*place, text, "an-explainer")])
    scored = [*top[top_slice(Split.VALID, 2)], *drawn[random_slice(Split.VALID, 2)]]
    _add_simulations(connection, place, random, chosen, activations, scored)


def _add_simulations(connection, place, random, chosen, activations, scored):
    neuron = place[2]
    expected = np.zeros((len(scored), TOKENS), np.float16)
    simulations = {}
    for row, number in enumerate(scored):
        distribution = random.dirichlet(np.full(11, 0.2), TOKENS).astype(np.float16)
        distribution *= np.float16(0.9)  # the rest went to other tokens
        expected[row] = 3 if neuron == CONSTANT else random.uniform(0, 10, TOKENS)
        given = distribution if neuron % 2 == 0 else None
        scale = "neuron_activations" if neuron == 5 else "simulated_normalized_activations"
        kept = given if scale.startswith("simulated") else None
        excerpt = chosen[number]
        simulations.setdefault(
            excerpt, SimulationRow(*place, excerpt, expected[row], kept, scale, "a-simulator")
        )
    rows = list(simulations.values())
    if neuron == FAILED:
        results.simulations.save(connection, rows[:2])
        return
    results.simulations.save(connection, rows)
    expected = np.stack([simulations[chosen[n]].expected_activations for n in scored])
    found = score_neuron(activations[scored], expected, 2)
    results.scores.save(connection, [ScoreRow(*place, *astuple(found))])


def _add_connections(connection, place, random):
    tokens = np.arange(len(TEXTS), dtype=np.int32)
    means = random.standard_normal(len(TEXTS)).astype(np.float32)
    top = np.argsort(-means)[:10].tolist()
    counts = np.full(len(TEXTS), 9, np.int32)
    run_id, layer, neuron = place
    row = TokenMeansRow(
        run_id=run_id,
        layer=layer,
        neuron=neuron,
        tokens=tokens,
        means=means,
        counts=counts,
        top_tokens=top,
        default_mean=0.25,
    )
    token_means.save(connection, [row])
    weights = [1.5, 0.25, 0.25, -0.125, -0.125, -3.0]
    upstream = ([0] * 6, list(range(6)), weights) if layer else ([], [], [])
    downstream = ([], [], []) if layer else ([1] * 6, list(range(6)), weights)
    neurons = [
        RelatedNeuronsRow(*place, "upstream", *upstream),
        RelatedNeuronsRow(*place, "downstream", *downstream),
    ]
    connections.related_neurons.save(connection, neurons)
    related = [
        RelatedTokensRow(*place, direction, [0, 7, 8, 3, 4, 14], weights)
        for direction in ("input", "output")
    ]
    connections.related_tokens.save(connection, related)
