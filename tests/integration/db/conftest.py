import pytest

from db import corpora, runs
from tests.support.databases import connected, copied
from tests.support.filled import fill


@pytest.fixture(scope="session")
def filled(services, template):
    """An engine on a database with a run that the generator of the benchmarks has made.

    Tests share it, and change nothing.
    """
    with copied(services, template, "filled") as url, connected(url) as engine:
        fill(url, services)
        yield engine


@pytest.fixture
def run_id(engine):
    """A run of two shards of two neurons each in layer 0, collected and ready to be explained."""
    with engine.begin() as connection:
        vocabulary = corpora.save_vocabulary(connection, "v", ["a", "b\0"])
        corpus = {
            "digest": "c",
            "vocabulary_id": vocabulary,
            "source": "s",
            "n_excerpts": 1,
            "excerpt_tokens": 2,
            "n_documents": 1,
            "n_documents_too_short": 0,
            "n_windows": 1,
        }
        run = {
            "name": "r",
            "config": {},
            "config_hash": "h",
            "corpus_id": corpora.save_corpus(
                connection, corpora.NewCorpus(**corpus), [("d", 0, b"\0" * 8)]
            ),
            "n_layers": 1,
            "neurons_per_layer": 4,
        }
        run_id = runs.create(connection, runs.NewRun(**run))
        runs.save_plan(
            connection,
            run_id,
            neurons=[(0, n, False) for n in range(4)],
            shards=[
                runs.PlannedShard(
                    stage, "", 0, start, start + 2, 2, "ready" if stage == "explain" else "waiting"
                )
                for stage in ("explain", "simulate", "score")
                for start in (0, 2)
            ],
            totals=[(stage, 0, 4) for stage in ("explain", "simulate", "score")],
        )
    return run_id
