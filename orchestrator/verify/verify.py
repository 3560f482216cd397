"""Check a run's consistency: recompute derived values, and follow every reference."""

from collections.abc import Callable, Iterator

from sqlalchemy import Connection, Engine

from db import corpora, datasets, references
from db.corpora import StoredCorpus
from db.session import snapshot
from orchestrator.verify.counters import check_counters, check_lists, check_shards
from orchestrator.verify.differences import Difference
from orchestrator.verify.neurons import check_neurons
from worker.run import load_run

OnStep = Callable[[str, int, int], None]
"""Called with the kind of items being checked, the number checked, and their total."""


def find_differences(engine: Engine, run_id: int, on_step: OnStep) -> Iterator[Difference]:
    """Yield every difference between the stored values of a run and the recomputed ones.

    Everything is read in one snapshot, so the run may continue meanwhile. Memory is bounded.
    """
    with snapshot(engine) as connection:
        run = load_run(connection, run_id)
        corpus = corpora.get(connection, run.row.corpus_id)
        on_step("counters", 0, 1)
        if not datasets.is_imported(connection, run_id):
            yield from check_counters(connection, run_id)
            yield from check_shards(connection, run.row, corpus.n_excerpts)
        yield from check_lists(connection, run_id)
        keeps_short = run.config.corpus.short == "keep"
        yield from _check_corpus(connection, corpus, on_step, keeps_short=keeps_short)
        on_step("references", 0, 1)
        yield from _check_references(connection, run_id)
        n_neurons = references.n_neurons(connection, run_id)
        for place, differences in enumerate(check_neurons(connection, run, corpus)):
            on_step("neurons", place, n_neurons)
            yield from differences


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


def _check_references(connection: Connection, run_id: int) -> Iterator[Difference]:
    for table in references.OF_NEURONS:
        for stray in references.strays(connection, run_id, table):
            what = f"{table} has rows of it, but it is not in the run"
            yield Difference("references", _name(*stray), what)
    for table in references.WITH_CALLS:
        for layer, neuron, call in references.lost_calls(connection, run_id, table):
            what = f"its {table} names call {call.hex()[:16]}, which is not stored"
            yield Difference("references", _name(layer, neuron), what)


def _name(layer: int, neuron: int) -> str:
    return f"layer {layer} neuron {neuron}"
