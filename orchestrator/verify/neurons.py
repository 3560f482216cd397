"""Does each neuron have what its finished shards owe it, and the scores that its rows give?"""

from collections.abc import Iterator

from sqlalchemy import Connection

from db import datasets, runs, verification
from db.corpora import StoredCorpus
from neurogloss.config.run import RunConfig
from orchestrator.verify.candidates import candidate_faults
from orchestrator.verify.differences import Difference
from orchestrator.verify.records import Rules, records_faults
from orchestrator.verify.scores import score_faults
from orchestrator.verify.stored_neurons import StoredNeuron, load
from worker.run import Run

AT_ONCE = 256  # neurons that are in memory together


def check_neurons(
    connection: Connection, run: Run, corpus: StoredCorpus
) -> Iterator[list[Difference]]:
    """Yield, for each neuron of a run, what is wrong with it."""
    is_collected = datasets.origin(connection, run.id) is None
    rules = Rules.of(run.config, corpus, is_collected=is_collected)
    for layer in runs.layers_of(connection, run.id):
        done = verification.done_ranges(connection, run.id, layer)
        neurons = runs.neurons_in(connection, run.id, layer)
        for place in range(0, len(neurons), AT_ONCE):
            some = neurons[place : place + AT_ONCE]
            stored = load(connection, run.id, layer, some, done)
            for neuron, found in stored.items():
                yield list(_neuron_differences(layer, neuron, found, run.config, rules))


def _neuron_differences(
    layer: int, neuron: int, stored: StoredNeuron, config: RunConfig, rules: Rules
) -> Iterator[Difference]:
    where = f"layer {layer} neuron {neuron}"
    faults = list(records_faults(stored.records, rules)) if stored.records is not None else []
    found = {"records": faults, "results": _missing(stored, config)}
    if not faults and not stored.is_imported:  # `import` has checked what was published
        found["candidates"] = candidate_faults(stored, config)
        found["scores"] = score_faults(stored, config, rules.excerpt_tokens)
    for kind, texts in found.items():
        yield from (Difference(kind, where, text) for text in texts)


def _missing(stored: StoredNeuron, config: RunConfig) -> Iterator[str]:
    """Say what a finished stage left undone, and what contradicts itself."""
    if stored.records is None:
        if stored.finished or stored.explanation is not None or stored.simulations:
            yield "it has no records"
        return
    explaining = [s for s in config.neuron_stages if s in ("explain", "choose", "revise")][-1]
    if stored.explanation is None and stored.is_owed_by(explaining):
        yield "it has neither an explanation, nor a failure, nor a reason for none"
    if stored.score is None and "score" in stored.finished and not stored.failed_up_to("score"):
        yield "it has neither a score nor a failure"
    if stored.is_ablated and stored.is_owed_by("ablate") and "ablation" not in stored.row:
        yield "it was to be ablated, and has neither a result nor a failure"
    if stored.explanation is not None and stored.failed_up_to(explaining):
        yield "it has an explanation, and a failure in its place"
    after = {"ablate"} | ({"score"} if config.scoring.also else set())  # of a further scorer
    if stored.score is not None and (against := stored.failures - after):
        yield f"it has a score, and failed in {', '.join(sorted(against))}"
