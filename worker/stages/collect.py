"""Collect: from text to the activation records of every neuron.

Its steps follow each other. `reference` reads the excerpts on which the quantile boundaries are
measured, `boundaries` measures them, `read` reads all other excerpts, `select` chooses the records
of each layer, and `lookup` reads the corpus again for the token lookup tables, if anyone wants
them. `reference` and `read` are one forward pass over the corpus together.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from sqlalchemy import Connection
from transformers import GPT2Model

from db import collection, records, runs
from db.session import transaction
from worker.errors import Interrupted
from worker.gpu.collection import LayerPart, LayerPlan, batch_ranges
from worker.gpu.collection import collect as read_excerpts
from worker.gpu.subject import load_subject
from worker.gpu.token_sums import TokenSums
from worker.neurons.lookup import top_tokens
from worker.neurons.records import FloatArray, IntArray
from worker.neurons.sampling import neuron_keys
from worker.neurons.selection import quantile_boundaries, select_records
from worker.neurons.statistics import moments
from worker.shard_work import ShardWork
from worker.stages.scored_records import scored_records

TOP_TOKENS = 50


def collect(work: ShardWork) -> None:
    """Do a shard of any step."""
    _STEPS[work.claim.step](work)


def read(work: ShardWork) -> None:
    """Read a range of excerpts and store what the neurons' records may need of them."""
    claim = work.claim
    model = load_once(work.config.subject.model, work.config.subject.dtype)
    with transaction(work.engine) as connection:
        plans = _plans(connection, work)
        tokens = _excerpts(connection, work, claim.start, claim.stop)
        n_excerpts = runs.corpus(connection, work.run["corpus_id"])["n_excerpts"]
    wanted = work.config.records
    parts = read_excerpts(
        model,
        tokens,
        claim.start,
        plans,
        n_excerpts=n_excerpts,
        n_top=wanted.top,
        n_random=wanted.random,
        per_bucket=wanted.per_quantile,
    )
    with work.handing_in() as connection:
        rows = (_part_row(claim.run_id, layer, claim.start, part) for layer, part in parts.items())
        collection.save_parts(connection, rows)
        _merge_top_keys(connection, claim.run_id, parts)


def measure_boundaries(work: ShardWork) -> None:
    """Measure a layer's quantile boundaries on the reference excerpts."""
    run_id, layer = work.claim.run_id, work.claim.layer
    with transaction(work.engine) as connection:
        width = len(runs.neurons_in(connection, run_id, layer))
        maxima = [
            np.frombuffer(part, np.float16).reshape(-1, width)
            for part in collection.maxima(connection, run_id, layer)
        ]
    boundaries = quantile_boundaries(np.concatenate(maxima))
    with work.handing_in() as connection:
        collection.save_bound(connection, run_id, layer, "boundaries", boundaries.tobytes())


def select(work: ShardWork) -> None:
    """Choose the records of a layer's neurons and drop what they were chosen from."""
    run_id, layer = work.claim.run_id, work.claim.layer
    with transaction(work.engine) as connection:
        rows = list(_selected(connection, work))
    with work.handing_in() as connection:
        records.save(connection, rows)
        collection.drop_parts(connection, run_id, layer)


def look_up(work: ShardWork) -> None:
    """Make the token lookup tables of some layers."""
    claim = work.claim
    model = load_once(work.config.subject.model, work.config.subject.dtype)
    layers = list(range(claim.start, claim.stop))
    sums = TokenSums(model, layers)
    with transaction(work.engine) as connection:
        n_excerpts = runs.corpus(connection, work.run["corpus_id"])["n_excerpts"]
    for start, stop in batch_ranges(0, n_excerpts):
        if work.stop.is_set():
            raise Interrupted
        with transaction(work.engine) as connection:
            tokens = _excerpts(connection, work, start, stop)
        sums.add(tokens)
    with transaction(work.engine) as connection:
        rows = [row for layer in layers for row in _tables(connection, work, layer, sums)]
    with work.handing_in() as connection:
        records.save_token_means(connection, rows)


_STEPS = {
    "reference": read,
    "boundaries": measure_boundaries,
    "read": read,
    "select": select,
    "lookup": look_up,
}


@lru_cache(maxsize=1)
def load_once(model: str, dtype: Any) -> GPT2Model:
    """Return the subject model, loaded once in each process."""
    return load_subject(model, dtype)


def _plans(connection: Connection, work: ShardWork) -> dict[int, LayerPlan]:
    run_id = work.claim.run_id
    bounds = collection.bounds(connection, run_id)
    plans = {}
    for layer in runs.layers_of(connection, run_id):
        neurons = np.array(runs.neurons_in(connection, run_id, layer), dtype=np.int64)
        boundaries, top_keys = bounds.get(layer, (None, None))
        plans[layer] = LayerPlan(
            neurons=neurons,
            keys=neuron_keys(work.config.corpus.seed, layer, neurons),
            boundaries=None if boundaries is None else _matrix(boundaries, np.float32, neurons),
            worst_top=None
            if top_keys is None
            else np.ascontiguousarray(_matrix(top_keys, np.int64, neurons).max(axis=1)),
        )
    return plans


def _matrix(stored: bytes, dtype: Any, neurons: IntArray) -> Any:
    return np.frombuffer(bytearray(stored), dtype).reshape(len(neurons), -1)


def _excerpts(connection: Connection, work: ShardWork, start: int, stop: int) -> IntArray:
    rows = runs.excerpts_between(connection, work.run["corpus_id"], start, stop)
    return np.stack([np.frombuffer(tokens, np.int32) for _, tokens in rows])


def _part_row(run_id: int, layer: int, start: int, part: LayerPart) -> tuple[Any, ...]:
    return (
        run_id,
        layer,
        start,
        part.n_tokens,
        part.sums.tobytes(),
        None if part.maxima is None else part.maxima.tobytes(),
        part.nonfinite.tobytes(),
        part.kept_neurons.tobytes(),
        part.kept_excerpts.tobytes(),
        part.kept_activations.tobytes(),
    )


def _merge_top_keys(connection: Connection, run_id: int, parts: dict[int, LayerPart]) -> None:
    """Lower the bar for what later shards keep: the best keys of all shards so far."""
    stored = collection.bounds(connection, run_id, lock=True)
    for layer, part in sorted(parts.items()):
        keys = part.top_keys
        if (before := stored.get(layer, (None, None))[1]) is not None:
            known = np.frombuffer(before, np.int64).reshape(keys.shape)
            both = np.concatenate([known, keys], axis=1)
            keys = np.stack([np.unique(row)[: keys.shape[1]] for row in both])
        collection.save_bound(connection, run_id, layer, "top_keys", keys.tobytes())


def _selected(connection: Connection, work: ShardWork) -> Iterator[tuple[Any, ...]]:
    run_id, layer = work.claim.run_id, work.claim.layer
    parts = collection.parts(connection, run_id, layer)
    neurons = np.array(runs.neurons_in(connection, run_id, layer), dtype=np.int64)
    n_excerpts = runs.corpus(connection, work.run["corpus_id"])["n_excerpts"]
    boundaries = _matrix(
        collection.bounds(connection, run_id)[layer][0] or b"", np.float32, neurons
    )
    keys = neuron_keys(work.config.corpus.seed, layer, neurons)
    sums = sum(np.frombuffer(p["sums"], np.float64).reshape(4, -1) for p in parts)
    n_tokens = sum(p["n_tokens"] for p in parts)
    found = moments(np.asarray(sums), int(n_tokens))
    nonfinite = np.any([np.frombuffer(p["nonfinite"], np.bool_) for p in parts], axis=0)
    held = _held(parts, len(neurons), work.config.corpus.excerpt_tokens)
    for column, neuron in enumerate(neurons.tolist()):
        chosen = select_records(
            held[column],
            key=int(keys[column]),
            n_excerpts=n_excerpts,
            boundaries=boundaries[column],
            n_top=work.config.records.top,
            n_random=work.config.records.random,
            per_bucket=work.config.records.per_quantile,
        )
        highest = float(chosen.activations[chosen.top[0]].max())
        reason = "nonfinite_activations" if nonfinite[column] else None
        yield (
            run_id,
            layer,
            neuron,
            chosen.excerpts,
            chosen.activations.tobytes(),
            chosen.top,
            chosen.random,
            chosen.bucket_records,
            chosen.buckets,
            boundaries[column].tolist(),
            highest,
            float(found.mean[column]),
            float(found.variance[column]),
            _or_none(found.skewness[column]),
            _or_none(found.kurtosis[column]),
            n_tokens,
            reason or ("dead" if highest <= 0 else None),
        )


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _held(parts: Any, n_neurons: int, n_tokens: int) -> list[dict[int, FloatArray]]:
    """Return what the shards kept, for each neuron by excerpt."""
    held: list[dict[int, FloatArray]] = [{} for _ in range(n_neurons)]
    for part in parts:
        neurons = np.frombuffer(part["kept_neurons"], np.int32).tolist()
        excerpts = np.frombuffer(part["kept_excerpts"], np.int32).tolist()
        rows = np.frombuffer(part["kept_activations"], np.float16).reshape(-1, n_tokens)
        for neuron, excerpt, row in zip(neurons, excerpts, rows, strict=True):
            held[neuron][excerpt] = row
    return held


def _tables(
    connection: Connection, work: ShardWork, layer: int, sums: TokenSums
) -> Iterator[tuple[Any, ...]]:
    """Yield the lookup table of each neuron of a layer, less the excerpts it is scored on."""
    layer_sums, layer_counts = sums.of_layer(layer)
    per_neuron = np.ascontiguousarray(layer_sums.T)
    for scored in scored_records(connection, work, layer):
        table, counts = per_neuron[scored.neuron].copy(), layer_counts.copy()
        rows = np.unique(scored.excerpts, return_index=True)[1]
        tokens = scored.tokens[rows].ravel()
        np.subtract.at(table, tokens, scored.true[rows].astype(np.float64).ravel())
        np.subtract.at(counts, tokens, 1)
        means = np.divide(table, counts, out=np.zeros_like(table), where=counts > 0)
        best = top_tokens(means, counts, TOP_TOKENS)
        kept = np.union1d(tokens, best)
        kept = kept[counts[kept] > 0]
        yield (
            work.claim.run_id,
            layer,
            scored.neuron,
            kept.astype(np.int32).tobytes(),
            means[kept].astype(np.float32).tobytes(),
            counts[kept].astype(np.int32).tobytes(),
            best.tolist(),
            float(table.sum() / max(1, counts.sum())),
        )
