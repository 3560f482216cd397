"""Recomputing what a run stores twice, and following every reference: is it one whole?"""

from collections.abc import Callable, Iterator

import numpy as np
from sqlalchemy import Connection, Engine, RowMapping

from db import datasets, runs, verification
from neurogloss.config.run import RunConfig
from orchestrator.verify.counters import check_counters, check_shards
from orchestrator.verify.differences import Difference
from orchestrator.verify.neurons import check_neurons

OnStep = Callable[[str, int, int], None]
"""Called with what is being checked, how much of it is, and how much there is."""


def find_differences(engine: Engine, run: RowMapping, on_step: OnStep) -> Iterator[Difference]:
    """Yield every difference between what a run stores and what its rows say.

    All is read in one snapshot, so that a run may go on meanwhile. Memory does not grow with it.
    """
    config = RunConfig.model_validate(run["config"])
    with verification.snapshot(engine) as connection:
        run = runs.get(connection, run["id"])
        corpus = runs.corpus(connection, run["corpus_id"])
        n_excerpts = corpus["n_excerpts"]
        on_step("counters", 0, 1)
        if not datasets.is_imported(connection, run["id"]):
            yield from check_counters(connection, run)
            yield from check_shards(connection, run, n_excerpts)
        yield from _check_corpus(connection, corpus, on_step)
        on_step("references", 0, 1)
        yield from _check_references(connection, run["id"])
        n_neurons = verification.n_neurons(connection, run["id"])
        for place, found in enumerate(check_neurons(connection, run, config, corpus)):
            on_step("neurons", place, n_neurons)
            yield from found


def _check_corpus(
    connection: Connection, corpus: RowMapping, on_step: OnStep
) -> Iterator[Difference]:
    """Yield what is wrong with the excerpts, to which records refer by number."""
    n_tokens = len(runs.token_texts(connection, corpus["vocabulary_id"]))
    expected = 0
    for excerpt, stored in verification.excerpts(connection, corpus["id"]):
        if excerpt % 1000 == 0:
            on_step("excerpts", excerpt, corpus["n_excerpts"])
        if excerpt != expected:
            yield Difference("references", f"excerpt {expected}", "it is missing")
        expected = excerpt + 1
        tokens = np.frombuffer(stored[: len(stored) // 4 * 4], np.int32)
        if 4 * corpus["excerpt_tokens"] != len(stored):
            what = f"it has {len(stored)} bytes of tokens, not {4 * corpus['excerpt_tokens']}"
            yield Difference("references", f"excerpt {excerpt}", what)
        elif tokens.min() < 0 or tokens.max() >= n_tokens:
            what = f"it names a token that is not among the {n_tokens} of its vocabulary"
            yield Difference("references", f"excerpt {excerpt}", what)
    if expected != corpus["n_excerpts"]:
        what = f"it has {expected} excerpts, not {corpus['n_excerpts']}"
        yield Difference("references", "corpus", what)


def _check_references(connection: Connection, run_id: int) -> Iterator[Difference]:
    for table in verification.OF_NEURONS:
        for row in verification.strays(connection, run_id, table):
            what = f"{table} has rows of it, but it is not in the run"
            yield Difference("references", _name(row), what)
    for table in verification.WITH_CALLS:
        for row in verification.lost_calls(connection, run_id, table):
            what = f"its {table} names call {bytes(row['call']).hex()[:16]}, which is not stored"
            yield Difference("references", _name(row), what)


def _name(row: RowMapping) -> str:
    return f"layer {row['layer']} neuron {row['neuron']}"
