"""Does each neuron have what its finished shards owe it, and the scores that its rows give?"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from typing import Any

import numpy as np
from sqlalchemy import Connection, RowMapping

from db import datasets, records, runs, verification
from orchestrator.verification.differences import Difference
from orchestrator.verification.records import Rules, records_faults
from worker.neurons.scoring import NeuronScore, score_neuron
from worker.run_config import RunConfig
from worker.stages.scored_records import activations_of, scored_places

AT_ONCE = 256  # neurons that are in memory together
SCORES = tuple(column.name for column in fields(NeuronScore))
STAGES = ("explain", "simulate", "score")


@dataclass(slots=True)
class _Stored:
    """All that is stored of a neuron. `finished` names the stages whose shard is done."""

    finished: set[str]
    records: RowMapping | None = None
    explanation: RowMapping | None = None
    simulations: dict[int, RowMapping] = field(default_factory=dict)
    score: RowMapping | None = None
    is_imported: bool = False
    failures: set[str] = field(default_factory=set)

    def failed_in(self, *stages: str) -> bool:
        return not self.failures.isdisjoint(stages)

    @property
    def is_undefined(self) -> bool:
        return self.records is not None and self.records["undefined_reason"] is not None


def check_neurons(
    connection: Connection, run: RowMapping, config: RunConfig, corpus: RowMapping
) -> Iterator[list[Difference]]:
    """Yield, for each neuron of a run, what is wrong with it."""
    is_collected = datasets.origin(connection, run["id"]) is None
    rules = Rules.of(config, corpus, is_collected=is_collected)
    for layer in runs.layers_of(connection, run["id"]):
        done = verification.done_ranges(connection, run["id"], layer)
        neurons = runs.neurons_in(connection, run["id"], layer)
        for place in range(0, len(neurons), AT_ONCE):
            some = neurons[place : place + AT_ONCE]
            stored = _load(connection, run["id"], layer, some, done)
            for neuron, found in stored.items():
                yield list(_neuron_differences(layer, neuron, found, config, rules))


def _load(
    connection: Connection,
    run_id: int,
    layer: int,
    neurons: Sequence[int],
    done: Sequence[RowMapping],
) -> dict[int, _Stored]:
    finished: dict[int, set[str]] = defaultdict(set)
    for shard in done:
        first, last = (bisect_left(neurons, shard[end]) for end in ("start", "stop"))
        for neuron in neurons[first:last]:
            finished[neuron].add(shard["stage"])
    stored = {neuron: _Stored(finished[neuron]) for neuron in neurons}
    place = (run_id, layer, neurons[0], neurons[-1] + 1)

    def rows(table: str) -> Iterator[tuple[_Stored, RowMapping]]:
        _, _, start, stop = place
        found = verification.of_neurons(connection, run_id, table, layer, start, stop)
        return ((stored[row["neuron"]], row) for row in found if row["neuron"] in stored)

    for row in records.load(connection, *place):
        if row["neuron"] in stored:
            stored[row["neuron"]].records = row
    for of_neuron, row in rows("explanation"):
        of_neuron.explanation = row
    for of_neuron, row in rows("simulation"):
        of_neuron.simulations[row["excerpt"]] = row
    for of_neuron, row in rows("score"):
        of_neuron.score = row
    for of_neuron, _ in rows("imported_neuron"):
        of_neuron.is_imported = True
    for of_neuron, row in rows("failure"):
        of_neuron.failures.add(row["stage"])
    return stored


def _neuron_differences(
    layer: int, neuron: int, stored: _Stored, config: RunConfig, rules: Rules
) -> Iterator[Difference]:
    where = f"layer {layer} neuron {neuron}"
    faults = list(records_faults(stored.records, rules)) if stored.records is not None else []
    yield from (Difference("records", where, fault) for fault in faults)
    yield from (Difference("results", where, fault) for fault in _missing(stored, config))
    if stored.records is None or faults or stored.is_imported:
        return  # what was published is checked by `import`, which computed no score of its own
    places, n_top = scored_places(stored.records, config.scoring)
    scored = [stored.records["excerpts"][place] for place in places]
    found = list(_simulation_faults(stored, scored, rules.excerpt_tokens))
    yield from (Difference("simulations", where, fault) for fault in found)
    if not found:
        fault = _score_fault(stored, places, scored, n_top)
        yield from (Difference("scores", where, text) for text in fault)


def _missing(stored: _Stored, config: RunConfig) -> Iterator[str]:
    """Say what a finished stage left undone, and what contradicts itself."""
    if stored.records is None:
        if stored.finished or stored.explanation is not None or stored.simulations:
            yield "it has no records"
        return
    is_excused = stored.is_undefined or stored.failed_in("explain")
    if stored.explanation is None and "explain" in stored.finished and not is_excused:
        yield "it has neither an explanation, nor a failure, nor a reason for none"
    if stored.score is None and "score" in stored.finished and not stored.failed_in(*STAGES):
        yield "it has neither a score nor a failure"
    if stored.explanation is not None and stored.failed_in("explain"):
        yield "it has an explanation, and a failure in its place"
    against = stored.failures - ({"score"} if config.scoring.also else set())  # of a further scorer
    if stored.score is not None and against:
        yield f"it has a score, and failed in {', '.join(sorted(against))}"


def _simulation_faults(stored: _Stored, scored: Sequence[int], n_tokens: int) -> Iterator[str]:
    strange = stored.simulations.keys() - set(scored)
    if strange:
        yield f"excerpt {min(strange)} is simulated, which is not among its scored records"
    for excerpt, row in stored.simulations.items():
        if len(row["expected_activations"]) != 2 * n_tokens:
            yield f"the simulation on excerpt {excerpt} has not {n_tokens} activations"
        elif not np.isfinite(_expected(row)).all():
            yield f"the simulation on excerpt {excerpt} is not finite"
        distribution = row["distribution"]
        if distribution is not None and len(distribution) != 2 * 11 * n_tokens:
            yield f"the distribution on excerpt {excerpt} is not of {n_tokens} tokens"
    is_owed = "simulate" in stored.finished or stored.score is not None
    if is_owed and not stored.is_undefined and not stored.failed_in("explain", "simulate"):
        missing = set(scored) - stored.simulations.keys()
        if missing:
            yield f"the simulation on excerpt {min(missing)} is missing"


def _expected(row: RowMapping) -> Any:
    return np.frombuffer(row["expected_activations"], np.float16)


def _score_fault(
    stored: _Stored, places: Sequence[int], scored: Sequence[int], n_top: int
) -> Iterator[str]:
    if stored.score is None or stored.records is None:
        return
    right = _score(stored.records, stored.simulations, places, scored, n_top)
    for name, value in zip(SCORES, astuple(right), strict=True):
        if stored.score[name] != value:
            yield f"{name} is {stored.score[name]}, by its rows {value}"


def _score(
    records_: RowMapping,
    simulations: Mapping[int, RowMapping],
    places: Sequence[int],
    scored: Sequence[int],
    n_top: int,
) -> NeuronScore:
    """Score a neuron as the score stage does, from what is stored."""
    if records_["undefined_reason"] is not None:
        return NeuronScore(None, None, None, None, None, records_["undefined_reason"])
    expected = np.stack([_expected(simulations[excerpt]) for excerpt in scored])
    return score_neuron(activations_of(records_)[list(places)], expected, n_top)
