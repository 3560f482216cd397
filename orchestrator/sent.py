"""The body of a call, made again from stored rows: the ledger keeps the answers alone.

A body is returned only where its identity is that of the call: then it is what was sent, to the
byte. That holds for explanations and simulations.
"""

import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Engine

from db import candidates, corpora, results, runs
from db.call_page import CallUse
from db.shards import Claim
from neurogloss.llm.calls import Call
from neurogloss.neurons.splits import Split
from worker.run import Run
from worker.shard import ClaimedShard, Lease
from worker.stages import explain, simulations
from worker.stages.scored_records import scored_records
from worker.stages.simulations import SimulationInput
from worker.stages.vocabulary import texts_of


class SentBodies:
    """Finds the bodies of calls. `engine` is that of the database that the connections are to."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(
        self, connection: Connection, identity: bytes, use: CallUse
    ) -> dict[str, Any] | None:
        """Return what was sent for a result; None where it cannot be made again."""
        row = runs.find(connection, use.run)
        if row is None:
            return None
        run = Run.of(row)
        kinds = {"explanation": "explain", "candidate": "explain", "simulation": "simulate"}
        stage = kinds.get(use.result)
        if stage is None:
            return None
        claim = Claim(0, run.id, stage, "", use.layer, use.neuron, use.neuron + 1, 1, 0, 0)
        lease = Lease(threading.Event(), math.inf)
        shard = ClaimedShard(self._engine, claim, run.row, run.config, lease)
        role = run.config.explainer if stage == "explain" else run.config.simulator
        url = run.config.endpoints[role.endpoint].base_url
        possible = _explained if stage == "explain" else _simulated
        for call in possible(connection, shard, use):
            # The answer may be that of the repetition, or of the call with twice the token limit.
            for variant in (call, replace(call, again=1)):
                for sent in (variant, variant.with_double_limit()):
                    if sent.identity(url) == identity:
                        return dict(sent.body)
        return None


def _explained(connection: Connection, shard: ClaimedShard, use: CallUse) -> Iterator[Call]:
    yield from explain.calls_of(connection, shard)


def _simulated(connection: Connection, shard: ClaimedShard, use: CallUse) -> Iterator[Call]:
    """Yield the calls that may have simulated an excerpt, from the explanation or a candidate."""
    place = shard.neuron_range
    explanations = list(results.explanation_texts(connection, *place).values())
    explanations += [row.text for row in candidates.candidates.load(connection, *place)]
    times = max(
        (
            results.retries(connection, place[0], stage, *place[1:]).get(use.neuron, 0)
            for stage in ("simulate", "choose", "revise")
        ),
    )
    for keys in _groups(connection, shard, use):
        tokens = corpora.excerpts_named(connection, shard.run.corpus_id, keys)
        texts = texts_of(connection, shard)
        read = [[texts[token] for token in tokens[key].tolist()] for key in keys]
        for explanation in dict.fromkeys(explanations):
            for sample in range(times + 1):
                asked = SimulationInput(use.neuron, explanation, keys, read, sample)
                yield from simulations.calls_of(shard, [asked])


def _groups(connection: Connection, shard: ClaimedShard, use: CallUse) -> Iterator[list[int]]:
    """Yield excerpts that may have been asked about together, among them that of the use."""
    if use.excerpt is not None:
        yield [use.excerpt]
    splits = [
        [
            int(excerpt)
            for scored in scored_records(connection, shard, *shard.neuron_range[1:], split)
            for excerpt in dict.fromkeys(scored.excerpts.tolist())
        ]
        for split in (Split.VALID, Split.CALIBRATION)
    ]
    valid, held_back = splits
    yield from (valid, held_back, list(dict.fromkeys([*valid, *held_back])))
