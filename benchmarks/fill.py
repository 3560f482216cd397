"""Fills a database with a made-up run of the size of GPT-2 XL, for measuring pages.

    NEUROGLOSS_HOME=/somewhere .venv/bin/python benchmarks/fill.py
    ... --layers 4 --neurons 320 --scored 0.5 --name small

Every neuron has records, an explanation, simulations, scores, calls and what else a run leaves, in
the amounts of a real one; a few failed. `--scored 0.5` leaves a run that is half finished, with
shards that seem to be leased. Rows are made in SQL from a few hundred templates, whose scores are
those of their records, so that `neurogloss verify` finds nothing. Distributions of calls are kept
for the first 64 neurons of a layer only. A database that has such rows already keeps them.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager

import fill_rows
from fill_rows import FilledLayer
from fill_templates import PER_BUCKET, RANDOM, SCORED, TOKENS, TOP, excerpts, vocabulary
from sqlalchemy import Connection, Engine, text

from db import corpora, imports, listed_neurons, repair, runs
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.subject.shape import Shape
from orchestrator.environment import find_environment, open_database
from orchestrator.runs.plan import make_plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--name", default="xl")
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--neurons", type=int, default=6400, help="of a layer")
    parser.add_argument("--scored", type=float, default=1.0, help="the share that is finished")
    parser.add_argument("--templates", type=int, default=2000)
    parser.add_argument("--excerpts", type=int, default=50_000)
    parser.add_argument("--words", type=int, default=50_257, help="of the vocabulary")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    engine = open_database(find_environment())
    fill(engine, options)


def fill(engine: Engine, options: argparse.Namespace) -> int:
    """Store the run and return its id."""
    size = (options.layers, options.neurons)
    with timed("corpus and plan"), transaction(engine) as connection:
        run_id = _create(connection, run_config(options), options)
    with timed("templates"), transaction(engine) as connection:
        fill_rows.store_templates(
            connection,
            n=options.templates,
            excerpts=options.excerpts,
            words=options.words,
            neurons=size[0] * size[1],
            seed=options.seed,
        )
    scored = round(options.scored * size[0] * size[1])
    tokens = options.excerpts * TOKENS
    for number in range(options.layers):
        layer = FilledLayer(run_id, number, size[1], size[0], scored, options.templates, tokens)
        with timed(f"layer {number}"), transaction(engine) as connection:
            fill_rows.add_layer(connection, layer)
            listed_neurons.renew(connection, run_id, [number])
    with timed("counters"), transaction(engine) as connection:
        fill_rows.drop_templates(connection)
        _count(connection, run_id, scored, size[1])
    with timed("vacuum"), engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("VACUUM (ANALYZE)"))
    return run_id


def run_config(options: argparse.Namespace) -> RunConfig:
    """Return the configuration that such a run would have."""
    return RunConfig.model_validate(
        {
            "name": options.name,
            "subject": {"model": "gpt2-xl"},
            "corpus": {"source": "made up", "excerpts": options.excerpts, "seed": options.seed},
            "records": {"top": TOP, "random": RANDOM, "per_quantile": PER_BUCKET},
            "explainer": {"model": fill_rows.EXPLAINER},
            "simulator": {"kind": "chat_logprobs", "model": fill_rows.SIMULATOR},
            "scoring": {"top": SCORED, "random": SCORED},
            "endpoints": {"openai": {"base_url": "http://127.0.0.1:9/v1"}},
            "budget": {"usd": 2000.0},
        }
    )


def _create(connection: Connection, config: RunConfig, options: argparse.Namespace) -> int:
    """Store the corpus, the run and its plan; return the id of the run."""
    n, words = options.excerpts, options.words
    corpus = corpora.NewCorpus(
        digest=f"made up: {n} excerpts of {words} words, seed {options.seed}",
        vocabulary_id=corpora.save_vocabulary(connection, f"made up: {words}", vocabulary(words)),
        source="made up",
        n_excerpts=n,
        excerpt_tokens=TOKENS,
        n_documents=-(-n // 20),
        n_documents_too_short=0,
        n_windows=n,
    )
    run = runs.NewRun(
        name=config.name,
        config=config.model_dump(mode="json"),
        config_hash=config.digest(),
        corpus_id=corpora.save_corpus(connection, corpus, excerpts(n, words, options.seed)),
        n_layers=options.layers,
        neurons_per_layer=options.neurons,
        budget_usd=config.budget.usd,
    )
    run_id = runs.create(connection, run)
    # Its records come from nowhere: `verify` does not ask by which rules they were chosen.
    imports.save_origin(connection, run_id, "made up by benchmarks/fill.py", "gelu_new")
    plan = make_plan(config, Shape(options.layers, options.neurons, 1024, words))
    runs.save_plan(
        connection,
        run_id,
        neurons=plan.neuron_rows(),
        shards=plan.shards,
        totals=plan.totals(),
    )
    return run_id


def _count(connection: Connection, run_id: int, scored: int, per_layer: int) -> None:
    """Set shards and counters to what the rows say, and the times at which all happened."""
    values = {"run": run_id, "scored": scored, "per_layer": per_layer, "hours": fill_rows.HOURS}
    connection.execute(_SHARDS, values)
    repair.repair_shards(connection, run_id)
    repair.repair_spend(connection, run_id)
    for statement in (_LAST_RESULTS, _THROUGHPUT, _WORKERS, _LEASES, _STATE):
        connection.execute(statement, values)


# A shard is done if all its neurons are: explained as far as fill_rows explains them, or scored.
_SHARDS = text("""
    UPDATE shard SET state = 'done', attempts = 1, token = 1
    WHERE run_id = :run AND (
        stage = 'collect' OR layer * :per_layer + stop
        <= :scored + CASE stage WHEN 'explain' THEN 640 ELSE 0 END)
""")

_LAST_RESULTS = text("UPDATE progress SET last_result_at = now() WHERE run_id = :run AND done > 0")

_THROUGHPUT = text("""
    INSERT INTO throughput (run_id, stage, minute, finished)
    SELECT run_id, stage, date_trunc('minute', now()) - interval '1 minute' * ago,
           ceil(n / (60.0 * :hours))
    FROM (SELECT run_id, stage, sum(done + failed) AS n FROM progress
          WHERE run_id = :run GROUP BY 1, 2) AS counted,
         generate_series(0, 60 * :hours - 1) AS ago
""")

_WORKERS = text("""
    INSERT INTO worker (worker, queue, host, started_at, finished)
    SELECT queue || '@made-up-' || n, queue, 'made-up-' || n,
           now() - interval '1 hour' * :hours, 1200 * n
    FROM (VALUES ('gpu', 1), ('api', 2), ('api', 3), ('api', 4)) AS made (queue, n)
    ON CONFLICT DO NOTHING
""")

_LEASES = text("""
    UPDATE shard SET state = 'leased', attempts = 1, token = 1,
           worker = 'api@made-up-' || 2 + id % 3, lease_until = now() + interval '10 minutes'
    WHERE id IN (SELECT id FROM shard WHERE run_id = :run AND state = 'waiting'
                 ORDER BY layer, start, id LIMIT 12)
""")

_STATE = text("""
    UPDATE run SET created_at = now() - interval '1 hour' * :hours,
           state = CASE WHEN EXISTS (SELECT FROM shard WHERE run_id = :run AND state <> 'done')
                        THEN 'running' ELSE 'done' END,
           finished_at = CASE WHEN NOT EXISTS (
               SELECT FROM shard WHERE run_id = :run AND state <> 'done') THEN now() END
    WHERE id = :run
""")


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long a step took."""
    started = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
