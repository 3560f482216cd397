"""How long `retry` takes for the failures of all neurons, beside a run that commits shards.

    .venv/bin/python benchmarks/retry.py [--layers 48] [--per-layer 6400] [--per-shard 8]

Every neuron has failed in `simulate`, so the shards of `score` are open too. The neurons of a
further layer are committed by a thread meanwhile, whose longest wait is shown.
"""

import argparse
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from sqlalchemy import Engine, text
from surroundings import services

from db import corpora, migrate, progress, results, runs, shards
from db.results import FailureRow
from db.retry import retry_failures
from db.session import make_engine, transaction

PER_SHARD = 8  # the more shards, the more work: by default 64 neurons are one
STAGES = ("explain", "simulate", "score")


def make_run(engine: Engine, layers: int, per_layer: int, per_shard: int = PER_SHARD) -> int:
    """Store a run whose neurons, except those of the last layer, have failed in `simulate`."""
    every = [(layer, n) for layer in range(layers + 1) for n in range(per_layer)]
    with transaction(engine) as connection:
        corpus = corpora.NewCorpus(
            "c", corpora.save_vocabulary(connection, "v", ["a"]), "s", 1, 2, 1, 0, 1
        )
        corpus_id = corpora.save_corpus(connection, corpus, [("d", 0, b"\0" * 8)])
        run = runs.NewRun("r", {}, "h", corpus_id, layers + 1, per_layer)
        run_id = runs.create(connection, run)
        runs.save_plan(
            connection,
            run_id,
            neurons=[runs.PlannedNeuron(*place) for place in every],
            shards=[
                runs.PlannedShard(stage, "", layer, n, n + per_shard, per_shard, "done")
                for stage in STAGES
                for layer, n in every[::per_shard]
            ],
            totals=[(stage, layer, per_layer) for stage in STAGES for layer in range(layers + 1)],
        )
        failed = (
            FailureRow(run_id, "simulate", layer, n, "unavailable", "no answer", 6, None)
            for layer, n in every
            if layer < layers
        )
        results.failures.save(connection, failed)
        connection.execute(text("UPDATE shard SET done = weight"))
        connection.execute(
            text("""
                UPDATE shard SET done = 0, failed = weight
                WHERE stage <> 'explain' AND layer < :n
            """),
            {"n": layers},
        )
        connection.execute(
            text("UPDATE shard SET state = 'ready', done = 0 WHERE stage = 'score' AND layer = :n"),
            {"n": layers},
        )
        connection.execute(
            text("""
                UPDATE progress SET done = counted.done, failed = counted.failed FROM (
                    SELECT stage, layer, sum(done) AS done, sum(failed) AS failed
                    FROM shard GROUP BY stage, layer) AS counted
                WHERE progress.stage = counted.stage AND progress.layer = counted.layer
            """)
        )
    return run_id


class Commits(threading.Thread):
    """Commits shards of the last layer, until `ended` is set."""

    def __init__(self, engine: Engine, layer: int) -> None:
        super().__init__()
        self._engine, self._layer = engine, layer
        self.ended = threading.Event()
        self.seconds: list[float] = []

    def run(self) -> None:
        query = text("SELECT id FROM shard WHERE state = 'ready' AND layer = :n ORDER BY id")
        with transaction(self._engine) as connection:
            ids = list(connection.scalars(query, {"n": self._layer}))
        for shard_id in ids:
            if self.ended.is_set():
                return
            began = time.monotonic()
            with transaction(self._engine) as connection:
                claim = shards.claim(connection, shard_id, "w", 600)
            if claim is None:
                raise RuntimeError(f"shard {shard_id} cannot be claimed")
            with transaction(self._engine) as connection:
                shards.finish(connection, claim)
                progress.count_shard(connection, shard_id)
            self.seconds.append(time.monotonic() - began)
            time.sleep(0.01)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--per-layer", type=int, default=6400)
    parser.add_argument("--per-shard", type=int, default=PER_SHARD)
    args = parser.parse_args()
    with services() as urls:
        migrate.upgrade(urls.database_url)
        engine = make_engine(urls.database_url)
        run_id = make_run(engine, args.layers, args.per_layer, args.per_shard)
        commits = Commits(engine, args.layers)
        commits.start()
        time.sleep(0.5)
        began = time.monotonic()
        with transaction(engine) as connection:
            count = retry_failures(connection, run_id)
        seconds = time.monotonic() - began
        commits.ended.set()
        commits.join()
        engine.dispose()
    print(f"{count:,} failures in {seconds:.1f} s, beside {len(commits.seconds)} commits")
    print(f"the longest of these took {max(commits.seconds):.2f} s")


if __name__ == "__main__":
    main()
