"""Check that each neuron has the results of its finished stages, and that its scores are right."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from db import corpora, datasets, runs, shard_coverage
from db.corpora import StoredCorpus
from db.rows import CorruptRowError
from db.shard_coverage import DoneRange
from neurogloss.config.run import RunConfig
from orchestrator.verify.candidates import candidate_faults
from orchestrator.verify.checked_neuron import CheckedNeuron, load_checked
from orchestrator.verify.controls import Partners, control_faults
from orchestrator.verify.differences import Difference
from orchestrator.verify.records import Rules, records_faults
from orchestrator.verify.scores import score_faults
from worker.run import Run

AT_ONCE = 256  # neurons in memory at the same time


def check_neurons(
    connection: Connection, run: Run, corpus: StoredCorpus, layers: Sequence[int]
) -> Iterator[list[Difference]]:
    """Yield, for each neuron of some layers, its differences; an empty list if there are none."""
    is_collected = datasets.origin(connection, run.id) is None
    lengths = corpora.lengths(connection, corpus.id)
    rules = Rules.of(run.config, corpus, lengths, is_collected=is_collected)
    for layer in layers:
        done = shard_coverage.done_ranges(connection, run.id, layer)
        neurons = runs.neurons_in(connection, run.id, layer)
        partners = Partners.of_layer(connection, run, layer)
        for place in range(0, len(neurons), AT_ONCE):
            group = neurons[place : place + AT_ONCE]
            for checked in _loaded(connection, run.id, layer, group, done):
                if isinstance(checked, CorruptRowError):
                    yield [
                        Difference("records", _name(checked.layer, checked.neuron), str(checked))
                    ]
                else:
                    yield list(_neuron_differences(checked, run.config, rules, partners))


def _loaded(
    connection: Connection,
    run_id: int,
    layer: int,
    neurons: Sequence[int],
    done: Sequence[DoneRange],
) -> Iterator[CheckedNeuron | CorruptRowError]:
    """Yield neurons, and a CorruptRowError in place of each neuron with corrupt rows."""
    # Neurons are read in groups, and one corrupt row spoils its group: read that one by one.
    try:
        yield from load_checked(connection, run_id, layer, neurons, done)
    except CorruptRowError as error:
        if len(neurons) == 1:
            yield error
            return
        for neuron in neurons:
            yield from _loaded(connection, run_id, layer, [neuron], done)


def _name(layer: int, neuron: int) -> str:
    return f"layer {layer} neuron {neuron}"


def _neuron_differences(
    checked: CheckedNeuron, config: RunConfig, rules: Rules, partners: Partners
) -> Iterator[Difference]:
    stored = checked.stored
    faults = list(records_faults(stored.records, rules)) if stored.records is not None else []
    by_kind = {"records": faults, "results": _missing(checked, config)}
    if not faults and stored.imported is None:  # `import` has checked what was published
        by_kind["candidates"] = candidate_faults(checked, config)
        by_kind["scores"] = score_faults(checked, config)
        by_kind["controls"] = control_faults(checked, config, partners)
    where = _name(stored.layer, stored.neuron)
    for kind, texts in by_kind.items():
        yield from (Difference(kind, where, text) for text in texts)


def _missing(checked: CheckedNeuron, config: RunConfig) -> Iterator[str]:
    """Yield missing results of finished stages, and results that contradict each other."""
    stored = checked.stored
    if stored.records is None:
        if checked.finished or stored.explanation is not None or stored.simulations:
            yield "it has no records"
        return
    explaining = [s for s in config.neuron_stages if s in ("explain", "choose", "revise")][-1]
    if stored.explanation is None and checked.is_owed_by(explaining):
        yield "it has neither an explanation, nor a failure, nor a reason for none"
    if stored.score is None and "score" in checked.finished and not checked.failed_up_to("score"):
        yield "it has neither a score nor a failure"
    if checked.is_ablated and checked.is_owed_by("ablate") and stored.ablation is None:
        yield "it was to be ablated, and has neither a result nor a failure"
    if stored.explanation is not None and checked.failed_up_to(explaining):
        yield "it has an explanation, and a failure in its place"
    # These failures do not prevent a score: ablation and control come after it, and a failure of
    # stage `score` may be that of a further scorer.
    after = {"ablate", "control"} | ({"score"} if config.scoring.also else set())
    if stored.score is not None and (against := stored.failures.keys() - after):
        yield f"it has a score, and failed in {', '.join(sorted(against))}"
