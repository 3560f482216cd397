"""Collect through the database, in shards of any size and order, by workers that die.

Against all activations held in memory and plain loops of numpy that share no code with it but the
seeded hash.
"""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from db import collection
from db.records import neuron_records, token_means
from neurogloss.neurons.sampling import neuron_keys, priorities
from neurogloss.neurons.selection import RecordCounts
from neurogloss.neurons.splits import Split, split_places
from neurogloss.subject.collection import collect as read_excerpts
from neurogloss.subject.layer_collector import LayerPlan
from neurogloss.subject.model import forward, load_subject
from neurogloss.subject.shape import read_shape
from tests.support.collected_run import PER_BUCKET, RANDOM, TOP, config_of, make_run, work_through
from tests.support.tiny_subject import (
    TOKENS,
    VOCABULARY,
    WIDTH,
    activations_of,
    make_tokens,
)
from worker.stages.collect import layer_parts

pytestmark = pytest.mark.usefixtures("own_models")


def brute_force(activations, layer, neuron, config):
    """Choose a neuron's records from all its activations, float16 (excerpt, token)."""
    n, wanted = len(activations), config.records
    cut = min(n // 2, 4096)
    maxima = [float(max(row)) for row in activations.tolist()]
    boundaries = np.quantile(np.array(maxima[:cut], np.float32), [0.5, 0.9, 0.99, 0.999])
    boundaries = boundaries.astype(np.float32)
    key = neuron_keys(config.corpus.seed, layer, np.array([neuron]))
    drawn = priorities(key, np.arange(n)).tolist()
    by_draw = sorted(range(n), key=lambda e: (e < cut, drawn[e], e))
    bounds = boundaries.tolist()
    buckets = [sum(maximum >= bound for bound in bounds) for maximum in maxima]
    members = []
    for bucket in range(5):
        mine = [e for e in by_draw if e >= cut and buckets[e] == bucket]
        members += [(bucket, e) for e in mine[: wanted.per_quantile]]
    return {
        "top": sorted(range(n), key=lambda e: (-maxima[e], e))[: wanted.top],
        "random": by_draw[: wanted.random],
        "buckets": members,
        "boundaries": boundaries.tolist(),
    }


def check_records(engine, run_id, config, everything, lengths=None):
    """Check records against all activations; those after the end of a short excerpt are none."""
    n, n_tokens = everything.shape[1:3]
    lengths = np.full(n, n_tokens) if lengths is None else lengths
    is_token = np.arange(n_tokens) < lengths[:, None]
    for layer, activations in enumerate(everything):
        finite = np.isfinite(activations) | ~is_token[:, :, None]
        activations = np.where(finite, activations, np.float16(0))
        with engine.begin() as connection:
            rows = neuron_records.load(connection, run_id, layer, 0, 10_000)
        assert [row.neuron for row in rows] == list(range(activations.shape[2]))
        check_moments(rows, activations[is_token])
        activations = np.where(is_token[:, :, None], activations, np.float16(-np.inf))
        for row in rows:
            mine = activations[:, :, row.neuron]
            expected = brute_force(mine, layer, row.neuron, config)
            named = {
                kind: [row.excerpts[place] for place in getattr(row, f"{kind}_records")]
                for kind in ("top", "random", "bucket")
            }
            assert named["top"] == expected["top"]
            assert named["random"] == expected["random"]
            assert list(zip(row.buckets, named["bucket"], strict=True)) == expected["buckets"]
            stored_boundaries = np.array(row.quantile_boundaries, np.float32).tolist()
            assert stored_boundaries == expected["boundaries"]
            assert len(set(row.excerpts)) == len(row.excerpts)
            records = [mine[excerpt, : lengths[excerpt]] for excerpt in row.excerpts]
            assert row.activations.tobytes() == np.concatenate(records).tobytes()
            assert [len(record) for record in row.on_all()] == lengths[row.excerpts].tolist()
            assert row.max_activation == float(mine.max())
            reason = "dead" if mine.max() <= 0 else None
            if not finite[:, :, row.neuron].all():
                reason = "nonfinite_activations"
            assert row.undefined_reason == reason


def check_moments(rows, activations):
    """Check moments against the activations on all tokens, (token, neuron)."""
    flat = activations.astype(np.float64)
    mean, spread = flat.mean(axis=0), flat.std(axis=0)
    assert {row.n_tokens for row in rows} == {len(flat)}
    for row in rows:
        n = row.neuron
        assert row.mean == pytest.approx(mean[n], rel=1e-5, abs=1e-6 * spread[n])
        assert row.variance == pytest.approx(flat[:, n].var(), rel=1e-5)
        if row.variance == 0:
            assert row.skewness is row.kurtosis is None
            continue
        centred = (flat[:, n] - mean[n]) / spread[n]
        assert row.skewness == pytest.approx((centred**3).mean(), rel=1e-5, abs=1e-5)
        assert row.kurtosis == pytest.approx((centred**4).mean(), rel=1e-5)


def stored(engine, run_id):
    """Everything that a run left, to the last bit."""
    columns = [c for c in neuron_records.columns if c != "run_id"]
    query = f"SELECT {', '.join(columns)} FROM neuron_records WHERE run_id = :r ORDER BY 1, 2"  # noqa: S608  (names of our own)
    tables = "SELECT layer, neuron, tokens, means, counts FROM token_means WHERE run_id = :r"
    with engine.begin() as connection:
        found = [tuple(map(plain, row)) for row in connection.execute(text(query), {"r": run_id})]
        means = connection.execute(text(f"{tables} ORDER BY 1, 2"), {"r": run_id})
        return found, [tuple(map(plain, row)) for row in means]


def plain(value):
    return bytes(value) if isinstance(value, memoryview) else value


def left_over(engine):
    tables = ("collect_part", "collect_maxima", "collect_bound")
    with engine.begin() as connection:
        queries = [text(f"SELECT count(*) FROM {table}") for table in tables]  # noqa: S608
        return [connection.scalar(query) for query in queries]


KILLS = (
    (layer_parts, "rank_excerpts"),  # in a merge, or before it
    (collection, "save_bounds"),
    (collection, "drop_layer"),
    (neuron_records, "save"),
    (layer_parts, "merge_large_layers"),  # the shard is handed in
)


@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.generate],  # to shrink an example takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    n_excerpts=st.sampled_from([21, 64, 150, 333]),
    shard_size=st.sampled_from([1, 33, 64, 500]),
    seed=st.integers(0, 99),
    workers=st.integers(1, 3),
    kill=st.sampled_from([None, *KILLS]),
    merge_at=st.sampled_from([0.2, 1, 3]),
)
def test_what_is_stored_equals_brute_force_however_it_was_collected(
    engine, tiny, monkeypatch, n_excerpts, shard_size, seed, workers, kill, merge_at
):
    monkeypatch.setattr(layer_parts, "MERGE_AT", merge_at)
    tokens = make_tokens(n_excerpts, VOCABULARY, TOKENS, seed)
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE run, corpus CASCADE"))
    found = []
    for name, size in (("plain", 10_000), ("varied", shard_size)):
        config = config_of(name, tiny, n_excerpts, TOKENS, size)
        run_id = make_run(engine, config, read_shape(tiny), tokens)
        if name == "plain":
            work_through(engine, run_id)
            check_records(engine, run_id, config, activations_of(load_subject(tiny), tokens))
        else:
            work_through(
                engine, run_id, seed=seed, workers=workers, kill=kill, monkeypatch=monkeypatch
            )
        found.append(stored(engine, run_id))
    assert found[0] == found[1]
    assert left_over(engine) == [0, 0, 0]


def test_the_demo_subject_is_collected_as_by_brute_force(engine):
    tokens = make_tokens(200, 2000, 64, 1)
    config = config_of("demo", "demo", 200, 64, 64, top=20, random=20, per_quantile=5)
    run_id = make_run(engine, config, read_shape("demo"), tokens)
    work_through(engine, run_id, seed=1, workers=2)
    check_records(engine, run_id, config, activations_of(load_subject("demo"), tokens))


@pytest.mark.parametrize("shard_size", [33, 500])
def test_short_excerpts_count_with_their_own_tokens_alone(engine, tiny, shard_size):
    padded = make_tokens(150, VOCABULARY, TOKENS, 3)
    lengths = np.random.default_rng(0).integers(1, TOKENS + 1, len(padded))
    # The model sees zeros after the end. Here it sees what stands there, so that the bits of the
    # activations before it are the same only if no position sees a later one.
    tokens = [row[:length] for row, length in zip(padded, lengths, strict=True)]
    config = config_of("short", tiny, 150, TOKENS, shard_size)
    corpus = config.corpus.model_copy(update={"short": "keep"})
    config = config.model_copy(update={"corpus": corpus})
    run_id = make_run(engine, config, read_shape(tiny), tokens)
    work_through(engine, run_id, seed=1, workers=2)
    everything = activations_of(load_subject(tiny), padded)
    check_records(engine, run_id, config, everything, lengths)
    check_token_means(engine, run_id, tokens)


def check_token_means(engine, run_id, tokens):
    """Check the counts of the lookup tables: each token of the corpus but of the scored records."""
    in_corpus = np.bincount(np.concatenate(tokens), minlength=VOCABULARY)
    with engine.begin() as connection:
        rows = neuron_records.load(connection, run_id, 0, 0, WIDTH)
        tables = token_means.load(connection, run_id, 0, 0, WIDTH)
    for row, table in zip(rows, tables, strict=True):
        places, _ = split_places(row.top_records, row.random_records, Split.VALID, 1, 1)
        scored = {row.excerpts[place] for place in places}
        own = np.bincount(np.concatenate([tokens[e] for e in scored]), minlength=VOCABULARY)
        assert table.counts.tolist() == (in_corpus - own)[table.tokens].tolist()


@pytest.mark.parametrize(
    ("start", "stop", "at_once"), [(0, 300, 128), (37, 91, None), (37, 91, 96)]
)
def test_activations_have_the_same_bits_in_every_shard_and_batch(model, start, stop, at_once):
    tokens = make_tokens(300, VOCABULARY, TOKENS, 0)
    neurons, wanted = np.arange(WIDTH), RecordCounts(300, 400, 0, 0)  # so many that all are kept
    plans = {0: LayerPlan(neurons, neuron_keys(0, 0, neurons), None)}
    first, last = start // 32 * 32, -(-stop // 32) * 32
    parts = read_excerpts(
        model, tokens[first:last], first, range(start, stop), plans, wanted, at_once=at_once
    )
    kept = dict(parts)[0].kept
    assert len(kept.excerpts) == WIDTH * (stop - start)
    expected = activations_of(model, tokens)[0]
    assert np.array_equal(kept.activations, expected[kept.excerpts, :, kept.columns])


def test_fewer_excerpts_go_at_once_from_now_on_where_memory_does_not_hold_them(tiny, monkeypatch):
    from neurogloss.subject import corpus_pass

    sizes = []

    def small_memory(model, tokens):
        sizes.append(len(tokens))
        if len(tokens) > 64:
            raise torch.OutOfMemoryError("as CUDA raises it")
        forward(model, tokens)

    monkeypatch.setattr(corpus_pass, "forward", small_memory)
    tokens = make_tokens(128, VOCABULARY, TOKENS, 0)
    neurons, wanted = np.arange(WIDTH), RecordCounts(128, TOP, RANDOM, PER_BUCKET)
    plans = {1: LayerPlan(neurons, neuron_keys(0, 1, neurons), None)}
    model = load_subject(tiny)  # of its own: its batches stay small
    for expected in ([128, 64, 64], [64, 64]):
        parts = read_excerpts(model, tokens, 0, range(128), plans, wanted, at_once=128)
        assert sum(block.n_tokens for block in dict(parts)[1].blocks) == 128 * TOKENS
        assert sizes == expected
        sizes.clear()
