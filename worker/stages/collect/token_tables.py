"""The steps `lookup` and `baselines` of collect, which pass over the corpus once more.

They make token lookup tables, and score the predictions of tables and weights on the valid split. A
table holds the tokens on which a neuron is scored and those of its highest means, which are known
only after the records are selected. A single pass would have to keep and merge the sums of every
token and neuron, 62 GB for GPT-2 XL; so the corpus is read again, through the layers of each shard.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from db import corpora, runs
from db.evaluations import BaselineScoreRow, baseline_scores
from db.records import TokenMeansRow, token_means
from db.session import transaction
from neurogloss.neurons.codec import padded
from neurogloss.neurons.lookup import TOP_TOKENS
from neurogloss.neurons.records import IntArray
from neurogloss.neurons.tiles import TILE
from neurogloss.subject.core_threads import core_threads
from neurogloss.subject.lookup_tables import LookupTables, tables_without, top_of_tables
from neurogloss.subject.residual_stream import ResidualStream
from neurogloss.subject.token_sums import TokenSums
from neurogloss.subject.weights import ResidualWeights
from worker.shard import ClaimedShard
from worker.stages.collect.baselines import baseline_rows
from worker.stages.forward_pass import excerpts, interruption_check, n_batches, subject_of
from worker.stages.scored_records import StackedRecords, scored_records, stacked

NEURONS_AT_ONCE = 64  # whose tables (n, vocabulary) in float64 fit into memory
_AT_ONCE = 32 * TILE  # excerpts fetched together
_stream = ResidualStream()  # left by the last shard of this process


def look_up(shard: ClaimedShard) -> None:
    """Make the token lookup tables of some layers and score the baselines."""
    with transaction(shard.engine) as connection:
        n_excerpts = corpora.get(connection, shard.run.corpus_id).n_excerpts
        layers = runs.layers_of(connection, shard.claim.run_id)
        neurons = {
            layer: runs.neurons_in(connection, shard.claim.run_id, layer)
            for layer in layers
            if shard.claim.start <= layer < shard.claim.stop
        }
    n_groups = sum(-(-len(of_layer) // NEURONS_AT_ONCE) for of_layer in neurons.values())
    n_read = n_batches(subject_of(shard), n_excerpts, shard.config.corpus.excerpt_tokens)
    n_read *= len(neurons)
    # Reading takes about as long as all tables.
    of_layer = max(1, n_groups // n_read)
    check = interruption_check(shard, of_layer * n_read + n_groups)
    on_layer = partial(check, of_layer)
    sums = _sums(shard, n_excerpts, neurons, on_layer, is_last=max(layers) in neurons)
    model = subject_of(shard)
    rows_of = partial(_rows_of, shard, sums, ResidualWeights(model))
    tables: list[TokenMeansRow] = []
    scores: list[BaselineScoreRow] = []
    with core_threads(model.device) as threads:
        for layer in neurons:
            groups = _groups(shard, layer)
            for of_tables, of_scores in threads.map(partial(rows_of, layer), groups):
                check()
                tables += of_tables
                scores += of_scores
    with shard.committing() as connection:
        token_means.save(connection, tables)
        baseline_scores.save(connection, scores)


def _sums(
    shard: ClaimedShard,
    n_excerpts: int,
    neurons: dict[int, list[int]],
    on_layer: Callable[[], None],
    *,
    is_last: bool,
) -> TokenSums:
    """Return the sums of activations by token, from a pass over the corpus."""
    model = subject_of(shard)
    sums = TokenSums(model, neurons)
    corpus = (shard.run.corpus_id, shard.config.subject, str(shard.engine.url))
    n_tokens = n_excerpts * shard.config.corpus.excerpt_tokens
    layers = range(min(neurons), max(neurons) + 1)
    with _stream.passing(model, corpus, n_tokens, layers, is_last=is_last):
        for start in range(0, n_excerpts, _AT_ONCE):
            with transaction(shard.engine) as connection:
                # A short transaction for each part: none is open during a forward pass.
                tokens, lengths = excerpts(connection, shard, start, start + _AT_ONCE)
            sums.add(tokens, lengths, first=start, on_layer=on_layer)
    return sums


def _groups(shard: ClaimedShard, layer: int) -> Iterator[StackedRecords]:
    """Yield the scored records of a layer's neurons, `NEURONS_AT_ONCE` at a time."""
    with transaction(shard.engine) as connection:
        scored = list(scored_records(connection, shard, layer))
    for first in range(0, len(scored), NEURONS_AT_ONCE):
        yield stacked(scored[first : first + NEURONS_AT_ONCE])


def _rows_of(
    shard: ClaimedShard,
    sums: TokenSums,
    weights: ResidualWeights,
    layer: int,
    group: StackedRecords,
) -> tuple[list[TokenMeansRow], list[BaselineScoreRow]]:
    """Return the tables of some neurons of a layer, and the scores of their baselines."""
    lookup = _tables(sums, layer, group)
    best = top_of_tables(lookup, TOP_TOKENS)
    tables = list(_table_rows(shard, layer, group, lookup, best))
    if not shard.config.scoring.baselines:
        return tables, []
    return tables, list(baseline_rows(shard, layer, group, lookup, best, weights))


def _tables(sums: TokenSums, layer: int, group: StackedRecords) -> LookupTables:
    of_neurons, counts = sums.of_neurons(layer, group.neurons)
    true = [
        np.concatenate([record * np.nan if again else record for again, record in pairs])
        for pairs in map(zip, group.is_repeated.tolist(), group.true)
    ]
    # What is NaN is left in: repeated records, and the padding.
    left_out = torch.from_numpy(padded(true, np.nan).astype(np.float64)).to(counts.device)
    flat = padded(list(map(np.concatenate, group.tokens)), 0)
    tokens = torch.from_numpy(flat.astype(np.int64)).to(counts.device)
    return tables_without(of_neurons, counts, tokens, left_out)


def _table_rows(
    shard: ClaimedShard,
    layer: int,
    group: StackedRecords,
    tables: LookupTables,
    best: list[IntArray],
) -> Iterator[TokenMeansRow]:
    means, counts = tables.means.cpu().numpy(), tables.counts.cpu().numpy()
    is_kept = np.zeros(counts.shape, dtype=np.bool_)
    for named in (list(map(np.concatenate, group.tokens)), best):
        of_row = np.repeat(np.arange(len(named)), list(map(len, named)))
        is_kept[of_row, np.concatenate(named)] = True
    rows, tokens = np.nonzero(is_kept & (counts > 0))
    ends = np.cumsum(np.bincount(rows, minlength=len(best)))[:-1]
    columns = (tokens, means[rows, tokens], counts[rows, tokens])
    defaults = tables.default_means.tolist()
    for neuron, listed, default, *of_neuron in zip(
        group.neurons.tolist(),
        best,
        defaults,
        *(np.split(column, ends) for column in columns),
        strict=True,
    ):
        yield TokenMeansRow(
            run_id=shard.claim.run_id,
            layer=layer,
            neuron=neuron,
            **dict(zip(("tokens", "means", "counts"), of_neuron, strict=True)),
            top_tokens=listed.tolist(),
            default_mean=default,
        )
