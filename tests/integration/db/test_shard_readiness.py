"""Which shards become ready, against the rule said plainly, for random states of random runs."""

from itertools import pairwise
from random import Random

import pytest
from sqlalchemy import text

from db import corpora, runs, shard_readiness
from neurogloss.stages import NEURON_STAGES, up_to

STEPS = ("reference", "boundaries", "read", "select", "lookup", "baselines", "connections")
OPTIONAL = ("choose", "illustrate", "observe", "revise", "ablate", "control")
STATES = ("waiting", "waiting", "ready", "queued", "leased", "done", "done", "done")


def may_begin(shard, others):
    """Whether all that a waiting shard waits for is done."""
    if shard["stage"] == "collect":
        before = STEPS[: STEPS.index(shard["step"])] if shard["step"] != "connections" else ()
        return all(o["state"] == "done" for o in others if o["step"] in before)
    if shard["stage"] == "explain":
        return all(
            o["state"] == "done"
            for o in others
            if o["stage"] == "collect"
            and o["step"] not in ("baselines", "connections")
            and (
                o["start"] <= shard["layer"] < o["stop"]
                if o["step"] == "lookup"
                else o["layer"] in (-1, shard["layer"])
            )
        )
    before = NEURON_STAGES[: NEURON_STAGES.index(shard["stage"])]
    of_layer = up_to("simulate") if shard["stage"] == "control" else ()
    return all(
        o["state"] == "done"
        for o in others
        if o["layer"] == shard["layer"]
        and ((o["stage"] in before and o["start"] == shard["start"]) or o["stage"] in of_layer)
    )


def random_shards(dice):
    """Return shards of a run of two layers, most of them as far as a run would be."""
    likely_done = dice.choice((0.0, 0.5, 0.9, 1.0))
    likely_simulated = dice.choice((0.0, 0.0, 0.9, 1.0))
    absent = {stage for stage in OPTIONAL if dice.random() < 0.5}
    shards = [
        ("collect", step, layer, 0, 128)
        for step in STEPS
        if step != "lookup"
        for layer in ((0, 1) if step in ("boundaries", "select", "connections") else (-1,))
    ]
    # Of both layers at once, or of each.
    cuts = dice.choice(((0, 2), (0, 1, 2)))
    shards += [("collect", "lookup", -1, *layers) for layers in pairwise(cuts)]
    shards += [
        (stage, "", layer, start, start + 64)
        for stage in NEURON_STAGES
        if stage not in absent
        for layer in (0, 1)
        for start in (0, 64)
    ]
    return [
        dict(zip(("stage", "step", "layer", "start", "stop"), shard, strict=True))
        | {
            "state": "done"
            if (shard[0] == "collect" and dice.random() < likely_done)
            or (shard[0] in up_to("simulate") and dice.random() < likely_simulated)
            else dice.choice(STATES)
        }
        for shard in shards
    ]


def store(connection, name, shards):
    run = runs.NewRun(
        name=name,
        config={},
        config_hash="",
        corpus_id=connection.scalar(text("SELECT min(id) FROM corpus")),
        n_layers=2,
        neurons_per_layer=128,
    )
    run_id = runs.create(connection, run)
    rows = [
        runs.PlannedShard(s["stage"], s["step"], s["layer"], s["start"], s["stop"], 64, s["state"])
        for s in shards
    ]
    runs.save_plan(connection, run_id, neurons=[], shards=rows, totals=[])
    return run_id


@pytest.fixture
def corpus(engine):
    with engine.begin() as connection:
        vocabulary = corpora.save_vocabulary(connection, "v", ["a"])
        counts = dict.fromkeys(("n_excerpts", "excerpt_tokens", "n_documents"), 1)
        counts |= dict.fromkeys(("n_documents_too_short", "n_windows"), 0)
        corpus = {"digest": "c", "vocabulary_id": vocabulary, "source": "s", **counts}
        corpora.save_corpus(connection, corpora.NewCorpus(**corpus), [("d", 0, b"\0" * 4)])
    return engine


def test_what_opens_is_what_the_rule_says(corpus):
    opened_of_stages = set()
    with corpus.begin() as connection:
        for seed in range(120):
            shards = random_shards(Random(seed))
            run_id = store(connection, str(seed), shards)
            expected = [
                "ready" if s["state"] == "waiting" and may_begin(s, shards) else s["state"]
                for s in shards
            ]
            n_opened = sum(now != s["state"] for now, s in zip(expected, shards, strict=True))
            assert shard_readiness.open_ready(connection, run_id) == n_opened
            query = text("SELECT state FROM shard WHERE run_id = :run ORDER BY id")
            found = connection.scalars(query, {"run": run_id}).all()
            assert found == expected, seed
            opened_of_stages |= {
                s["stage"] for now, s in zip(expected, shards, strict=True) if now != s["state"]
            }
    assert opened_of_stages == {"collect", *NEURON_STAGES}


def test_what_waits_for_a_batch_stays_closed(corpus):
    shards = [
        {"stage": "explain", "step": "", "layer": 0, "start": 0, "stop": 64, "state": "waiting"},
        {"stage": "simulate", "step": "", "layer": 0, "start": 64, "stop": 128, "state": "waiting"},
    ]
    with corpus.begin() as connection:
        run_id = store(connection, "batch", shards)
        connection.execute(
            text(
                "INSERT INTO batch_wait SELECT id, '\\x00', run_id FROM shard WHERE run_id = :run"
            ),
            {"run": run_id},
        )
        assert shard_readiness.open_ready(connection, run_id) == 0
        connection.execute(text("DELETE FROM batch_wait"))
        assert shard_readiness.open_ready(connection, run_id) == 2
