"""Runs that have collect shards alone, and all of these done in this process."""

import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
from sqlalchemy import text

from db import corpora, runs, shard_readiness, shards
from neurogloss.config.run import RunConfig
from orchestrator.runs.plan import make_plan
from worker.process_calls import ProcessCalls
from worker.shard import ClaimedShard, Lease
from worker.stages.collect import collect

TOP, RANDOM, PER_BUCKET = 12, 9, 3
PER_KIND = 5


def make_run(engine, config, shape, tokens):
    corpus = {
        "digest": config.name,
        "source": "test",
        "n_excerpts": len(tokens),
        "excerpt_tokens": config.corpus.excerpt_tokens,
        "n_documents": 1,
        "n_documents_too_short": 0,
        "n_windows": len(tokens),
    }
    plan = make_plan(config, shape)
    with engine.begin() as connection:
        corpus["vocabulary_id"] = corpora.save_vocabulary(connection, "v", ["a"])
        rows = [("d", position, row.tobytes()) for position, row in enumerate(tokens)]
        run = {
            "name": config.name,
            "config": config.model_dump(mode="json"),
            "config_hash": config.digest(),
            "corpus_id": corpora.save_corpus(connection, corpora.NewCorpus(**corpus), rows),
            "n_layers": shape.n_layers,
            "neurons_per_layer": shape.neurons_per_layer,
        }
        run_id = runs.create(connection, runs.NewRun(**run))
        runs.save_plan(
            connection,
            run_id,
            neurons=plan.neuron_rows(),
            shards=[shard for shard in plan.shards if shard[0] == "collect"],
            totals=plan.totals(),
        )
    return run_id


def config_of(name, model, n_excerpts, n_tokens, shard_size, **records_):
    lookup = {"kind": "lookup"}
    wanted = {"top": TOP, "random": RANDOM, "per_quantile": PER_BUCKET, **records_}
    return RunConfig.model_validate(
        {
            "name": name,
            "subject": {"model": model},
            "corpus": {"excerpts": n_excerpts, "excerpt_tokens": n_tokens, "seed": 4},
            "records": wanted,
            "scoring": {"top": 1, "random": 1},
            "explainer": lookup,
            "simulator": lookup,
            "shards": {"excerpts": shard_size},
        }
    )


def claimed(engine, run_id, shard_id, calls=None):
    with engine.begin() as connection:
        claim = shards.claim(connection, shard_id, "test", 600)
        run = runs.get(connection, run_id)
    config = RunConfig.model_validate(run.config)
    lease = Lease(threading.Event(), math.inf)
    return ClaimedShard(engine, claim, run, config, lease, calls or ProcessCalls())


def do_online(stage, engine, run_id, shard_id):
    """Claim a shard and do it, with calls whose limits are shared in the Redis of the variable."""
    with closing(ProcessCalls(os.environ["REDIS_URL"], os.environ)) as calls:
        return stage(claimed(engine, run_id, shard_id, calls))


class Killed(BaseException):
    """Stands for SIGKILL: no code of the project catches it."""


def work_through(engine, run_id, *, seed=0, workers=1, kill=None, monkeypatch=None):
    """Do all shards of a run in a random order, `workers` at a time; `kill` names a function."""
    chance = np.random.default_rng(seed)
    while True:
        with engine.begin() as connection:
            shards.sweep(connection, run_id)
            shard_readiness.open_ready(connection, run_id)
            query = "SELECT id FROM shard WHERE run_id = :run AND state = 'ready'"
            ready = list(connection.scalars(text(query), {"run": run_id}))
        if not ready:
            break
        chance.shuffle(ready)
        if kill and chance.random() < 0.3:
            _die_in(kill, engine, run_id, ready[0], monkeypatch)
            continue
        works = [claimed(engine, run_id, shard) for shard in ready[:workers]]
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(collect, works))
    with engine.begin() as connection:
        assert shards.unfinished(connection, run_id) == 0


def _die_in(place, engine, run_id, shard_id, monkeypatch):
    """Begin a shard, and stop in the middle of a transaction or after the results are stored."""

    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(*place, die)
        try:
            collect(claimed(engine, run_id, shard_id))
        except Killed:
            with engine.begin() as connection:
                query = "UPDATE shard SET lease_until = now() - interval '1 s' WHERE id = :id"
                connection.execute(text(query), {"id": shard_id})


def config_with_baselines(name, **changes):
    values = config_of(name, "demo", 200, 64, 64, top=20, random=20, per_quantile=5).model_dump()
    scoring = {"top": PER_KIND, "random": PER_KIND, **changes.pop("scoring", {})}
    return RunConfig.model_validate(values | {"scoring": scoring, **changes})
