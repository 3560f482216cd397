"""Check a run's consistency: recompute derived values, and follow every reference."""

from collections.abc import Callable, Iterator
from itertools import count

from sqlalchemy import Connection, Engine

from db import corpora, datasets, references, runs
from db.corpora import StoredCorpus
from db.session import snapshot
from orchestrator.verify.counters import check_counters, check_shards
from orchestrator.verify.differences import Difference
from orchestrator.verify.parts import check_in_processes, check_part, parts_of
from worker.run import load_run

OnStep = Callable[[str, int, int], None]
"""Called with the kind of items being checked, the number checked, and their total."""


FEW = 5_000  # neurons that one process checks before another has begun


def find_differences(
    engine: Engine, run_id: int, on_step: OnStep, processes: int = 1
) -> Iterator[Difference]:
    """Yield every difference between the stored values of a run and the recomputed ones.

    Everything is read in one snapshot, so the run may continue meanwhile. Memory is bounded.
    Several processes share a run of more than a few neurons.
    """
    with snapshot(engine) as connection:
        run = load_run(connection, run_id)
        corpus = corpora.get(connection, run.row.corpus_id)
        on_step("counters", 0, 1)
        # An imported run has no shards, with which its counters could be compared.
        if not datasets.is_imported(connection, run_id):
            yield from check_counters(connection, run_id)
            yield from check_shards(connection, run.row, corpus.n_excerpts)
        keeps_short = run.config.corpus.short == "keep"
        yield from _check_corpus(connection, corpus, on_step, keeps_short=keeps_short)
        total = references.n_neurons(connection, run_id)
        parts = parts_of(runs.layers_of(connection, run_id), processes)
        if processes > 1 and total > FEW:
            yield from check_in_processes(
                connection, engine, run_id, parts, processes, lambda n: on_step("neurons", n, total)
            )
            return
        checked = count()
        for layers in parts:
            yield from check_part(
                connection, run_id, layers, lambda: on_step("neurons", next(checked), total)
            )


def _check_corpus(
    connection: Connection, corpus: StoredCorpus, on_step: OnStep, *, keeps_short: bool
) -> Iterator[Difference]:
    """Yield faults of the corpus: missing excerpts, wrong lengths, tokens without a text."""
    n_tokens = len(corpora.token_texts(connection, corpus.vocabulary_id))
    expected = 0
    for excerpt, tokens in references.excerpts(connection, corpus.id):
        if excerpt % 1000 == 0:
            on_step("excerpts", excerpt, corpus.n_excerpts)
        if excerpt != expected:
            yield Difference("references", f"excerpt {expected}", "it is missing")
        expected = excerpt + 1
        if not _is_length_right(len(tokens), corpus, keeps_short=keeps_short):
            what = f"it has {len(tokens)} tokens, not {corpus.excerpt_tokens}"
            yield Difference("references", f"excerpt {excerpt}", what)
        elif tokens.min() < 0 or tokens.max() >= n_tokens:
            what = f"it names a token that is not among the {n_tokens} of its vocabulary"
            yield Difference("references", f"excerpt {excerpt}", what)
    if expected != corpus.n_excerpts:
        what = f"it has {expected} excerpts, not {corpus.n_excerpts}"
        yield Difference("references", "corpus", what)


def _is_length_right(n_tokens: int, corpus: StoredCorpus, *, keeps_short: bool) -> bool:
    if corpus.is_imported:
        return n_tokens > 0
    lowest = 1 if keeps_short else corpus.excerpt_tokens
    return lowest <= n_tokens <= corpus.excerpt_tokens
