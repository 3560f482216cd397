"""Baselines against plain numpy, neuron by neuron, from all activations held in memory."""

import numpy as np
import pytest
from sqlalchemy import text

from db import evaluations
from db.records import neuron_records, token_means
from neurogloss.subject.model import load_subject
from neurogloss.subject.shape import read_shape
from tests.support.collected_run import (
    PER_KIND,
    config_with_baselines,
    make_run,
    work_through,
)
from tests.support.databases import connected, copied, copy_database, url_of
from tests.support.tiny_subject import activations_of, make_tokens

pytestmark = pytest.mark.usefixtures("own_models")
LISTED, VOCABULARY = 50, 4096
RUN_ID = 1  # of the run in the template


@pytest.fixture(scope="module")
def tokens():
    tokens = make_tokens(200, 700, 64, 1)
    tokens[:60] %= 30  # some tokens are frequent
    return tokens


@pytest.fixture(scope="module")
def collected_template(services, template, tokens):
    """A database with a run of the demo subject of which all steps of collect are done."""
    copy_database(services, template, "collected_template")
    with connected(url_of(services, "collected_template")) as engine:
        run_id = make_run(engine, config_with_baselines("demo"), read_shape("demo"), tokens)
        work_through(engine, run_id, seed=1)
    return "collected_template"


@pytest.fixture
def collected(services, collected_template):
    """An engine on a copy of it."""
    with copied(services, collected_template, "collected") as url, connected(url) as engine:
        yield engine


def scored_excerpts(row):
    """Return the excerpts on which a neuron is scored, and where those drawn at random begin."""
    top = row.top_records[2 : 4 * PER_KIND : 4]
    drawn = row.random_records[1 : 3 * PER_KIND : 3]
    return [row.excerpts[place] for place in [*top, *drawn]], len(top)


def brute_force(tokens, activations, scored, embedding, reads):
    """Return what each baseline predicts on the scored excerpts, (n_records, n_tokens)."""
    others = [e for e in range(len(tokens)) if e not in scored]
    read, values = tokens[others].ravel(), activations[others].ravel().astype(np.float64)
    counts = np.bincount(read, minlength=VOCABULARY)
    sums = np.bincount(read, weights=values, minlength=VOCABULARY)
    seen = np.flatnonzero(counts)
    means = np.full(VOCABULARY, values.sum() / len(values))
    listed = means.copy()
    means[seen] = sums[seen] / counts[seen]
    of_token, seen_times = means.tolist(), counts.tolist()  # arrays are slow to sort by
    ranked = sorted(seen.tolist(), key=lambda t: (seen_times[t] < 3, -of_token[t], t))[:LISTED]
    listed[ranked] = means[ranked]
    asked = tokens[scored]
    return ranked, {
        "lookup": means[asked].astype(np.float32).astype(np.float16),
        "token_list": listed[asked].astype(np.float32).astype(np.float16),
        "weights": embedding[asked] @ reads,
    }


def correlation(true, simulated):
    true, simulated = (a.astype(np.float64).ravel() for a in (true, simulated))
    if np.ptp(true) == 0 or np.ptp(simulated) == 0:
        return None
    return np.corrcoef(true, simulated)[0, 1]


def test_baselines_of_every_demo_neuron_equal_brute_force(collected, tokens):
    model = load_subject("demo")
    everything = activations_of(model, tokens)
    embedding = model.wte.weight.numpy().astype(np.float64)
    for layer, activations in enumerate(everything):
        gain = model.h[layer].ln_2.weight.numpy().astype(np.float64)
        reads = gain[:, None] * model.h[layer].mlp.c_fc.weight.numpy()
        with collected.begin() as connection:
            rows = neuron_records.load(connection, RUN_ID, layer, 0, 10_000)
            lists = {
                row.neuron: row.top_tokens
                for row in token_means.load(connection, RUN_ID, layer, 0, 10_000)
            }
            query = text("SELECT * FROM baseline_score WHERE run_id = :run AND layer = :layer")
            found = connection.execute(query, {"run": RUN_ID, "layer": layer}).mappings().all()
        stored = {(row["neuron"], row["baseline"]): row for row in found}
        assert len(stored) == 3 * len(rows) == 3 * activations.shape[2]
        for row in rows:
            neuron = row.neuron
            scored, n_top = scored_excerpts(row)
            mine = activations[:, :, neuron]
            listed, predicted = brute_force(tokens, mine, scored, embedding, reads[:, neuron])
            assert lists[neuron] == listed
            for baseline, simulated in predicted.items():
                score = stored[neuron, baseline]
                if row.undefined_reason is not None:
                    assert (score["score"], score["undefined_reason"]) == (None, "dead")
                    continue
                true = mine[scored]
                for key, part in (
                    ("score", slice(None)),
                    ("score_top", slice(n_top)),
                    ("score_random", slice(n_top, None)),
                ):
                    expected = correlation(true[part], simulated[part])
                    assert score[key] == (
                        None if expected is None else pytest.approx(expected, abs=1e-5)
                    )


def test_the_summary_is_of_the_stored_scores(collected):
    with collected.begin() as connection:
        summary = evaluations.baseline_means(connection, "demo")
        scores = {
            (layer, row.neuron, row.baseline): row.score
            for layer in (0, 5)
            for row in evaluations.baseline_scores.load(connection, RUN_ID, layer, 0, 512)
        }
    assert len(scores) == 2 * 512 * 3
    assert [(row.layer, row.baseline) for row in summary] == [
        (layer, baseline) for layer in range(6) for baseline in ("lookup", "token_list", "weights")
    ]
    for row in summary:
        if row.layer in (0, 5):
            mine = [scores[row.layer, neuron, row.baseline] for neuron in range(512)]
            defined = [score for score in mine if score is not None]
            assert (row.n, row.undefined) == (len(defined), 512 - len(defined))
            assert row.score == pytest.approx(np.mean(defined))
            assert row.median_score == pytest.approx(np.median(defined))


def test_without_baselines_only_who_reads_the_tables_gets_them(engine):
    config = config_with_baselines("none", scoring={"baselines": False}, neurons={"layers": [2]})
    run_id = make_run(engine, config, read_shape("demo"), make_tokens(200, 700, 64, 1))
    work_through(engine, run_id)
    with engine.begin() as connection:
        assert evaluations.baseline_means(connection, "none") == []
        assert len(token_means.load(connection, run_id, 2, 0, 10_000)) == 512


def test_neurons_of_a_sample_score_as_they_do_among_all(collected, tokens):
    config = config_with_baselines("some", neurons={"layers": [1, 4], "per_layer": 30})
    some = make_run(collected, config, read_shape("demo"), tokens)
    work_through(collected, some)
    query = text(
        "SELECT count(*), count(*) FILTER (WHERE a.score = b.score AND a.score_top = b.score_top"
        " AND a.rsquared = b.rsquared)"
        " FROM baseline_score AS a JOIN baseline_score AS b USING (layer, neuron, baseline)"
        " WHERE a.run_id = :run AND b.run_id = :some AND b.score IS NOT NULL"
    )
    with collected.begin() as connection:
        n, equal = connection.execute(query, {"run": RUN_ID, "some": some}).one()
    assert n == equal > 2 * 3 * 20
