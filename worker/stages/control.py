"""Control: simulate the scored records of neurons from the explanations of other neurons."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from sqlalchemy import Connection

from db import results, runs
from db.control_scores import (
    ControlScoreRow,
    ControlSimulationRow,
    control_scores,
    control_simulations,
)
from db.results import ExplanationRow, FailureRow
from db.session import transaction
from neurogloss.errors import RowError
from neurogloss.neurons.control import in_order, partner_of
from neurogloss.neurons.records import FloatArray
from neurogloss.neurons.scoring import score_neuron, unscored
from neurogloss.stages import up_to
from worker.shard import ClaimedShard
from worker.stages.model_calls import failure_row
from worker.stages.scored_records import ScoredRecords, scored_records
from worker.stages.simulations import SimulationInput, SimulationOutcome, simulate_all
from worker.stages.vocabulary import texts_of

NO_PARTNER = "no_partner"
"""Why a neuron has no control, where it alone of its layer has an explanation."""


@dataclass(frozen=True, slots=True)
class _Task:
    """A neuron to control, from its partner's explanation; None if it has no partner.

    `texts` has the tokens of each excerpt, which is asked about once.
    """

    scored: ScoredRecords
    partner: ExplanationRow | None
    texts: dict[int, list[str]]
    sample: int

    @property
    def undefined_reason(self) -> str | None:
        if self.scored.undefined_reason is not None:
            return self.scored.undefined_reason
        return NO_PARTNER if self.partner is None else None

    def asked(self) -> SimulationInput | None:
        """Return the simulation to ask for; None if there is no control."""
        if self.partner is None or self.undefined_reason is not None:
            return None
        excerpts, texts = list(self.texts), list(self.texts.values())
        return SimulationInput(self.scored.neuron, self.partner.text, excerpts, texts, self.sample)


def control(shard: ClaimedShard) -> None:
    """Simulate and score the marked neurons of a shard from the explanations of their partners.

    The dispatcher opens a shard when its whole layer is simulated, so that partners do not depend
    on the order of work. Neurons that failed before are left out: they have no score to compare.
    """
    tasks = list(_tasks(shard))
    asked = {task.scored.neuron: one for task in tasks if (one := task.asked()) is not None}
    outcomes = dict(zip(asked, simulate_all(shard, list(asked.values())), strict=True))
    scores: list[ControlScoreRow] = []
    simulations: list[ControlSimulationRow] = []
    failures: list[FailureRow] = []
    for task in tasks:
        of_task = outcomes.get(task.scored.neuron, [])
        failed = next((found for found in of_task if isinstance(found, RowError)), None)
        if failed is not None:
            failures.append(failure_row(shard, task.scored.neuron, failed))
            continue
        rows = list(_simulation_rows(shard, task, of_task))
        simulations += rows
        scores.append(_score_row(shard, task, {r.excerpt: r.expected_activations for r in rows}))
    with shard.committing() as connection:
        control_simulations.save(connection, simulations)
        control_scores.save(connection, scores)
        results.failures.save(connection, failures)


def _tasks(shard: ClaimedShard) -> Iterator[_Task]:
    """Yield the neurons to control that have no control yet."""
    run_id, layer, start, stop = shard.neuron_range
    with transaction(shard.engine) as connection:
        wanted = set(runs.controlled_in(connection, *shard.neuron_range))
        wanted -= {row.neuron for row in control_scores.load(connection, *shard.neuron_range)}
        for stages in (up_to("simulate"), ["control"]):
            wanted -= results.failed(connection, run_id, stages, layer, start, stop)
        if not wanted:
            return
        partners = _partners(connection, shard, wanted)
        retries = results.retries(connection, run_id, "control", layer, start, stop)
        texts = texts_of(connection, shard)
        records = [
            scored
            for scored in scored_records(connection, shard, layer, start, stop)
            if scored.neuron in wanted
        ]
    for scored in records:
        pairs = zip(scored.excerpts.tolist(), scored.tokens, strict=True)
        of_neuron = {excerpt: [texts[t] for t in tokens.tolist()] for excerpt, tokens in pairs}
        sample = retries.get(scored.neuron, 0)
        yield _Task(scored, partners.get(scored.neuron), of_neuron, sample)


def _partners(
    connection: Connection, shard: ClaimedShard, neurons: set[int]
) -> dict[int, ExplanationRow]:
    """Return the explanation of each neuron's partner, for those that have one."""
    run_id, layer, _, _ = shard.neuron_range
    of_layer = runs.neurons_in(connection, run_id, layer)
    first, last = of_layer[0], of_layer[-1] + 1
    rows = results.explanations.load(connection, run_id, layer, first, last)
    explained = {row.neuron: row for row in rows}
    ordered = in_order(shard.config.corpus.seed, layer, of_layer)
    found = {neuron: partner_of(neuron, ordered, explained) for neuron in neurons}
    return {neuron: explained[partner] for neuron, partner in found.items() if partner is not None}


def _simulation_rows(
    shard: ClaimedShard, task: _Task, outcomes: Sequence[SimulationOutcome]
) -> Iterator[ControlSimulationRow]:
    key = (shard.claim.run_id, shard.claim.layer, task.scored.neuron)
    # Not strict: a neuron whose control is undefined was not simulated.
    for excerpt, outcome in zip(task.texts, outcomes, strict=False):
        if not isinstance(outcome, RowError):
            simulation, call = outcome
            yield ControlSimulationRow(*key, excerpt, simulation.expected, call)


def _score_row(
    shard: ClaimedShard, task: _Task, simulated: Mapping[int, FloatArray]
) -> ControlScoreRow:
    scored, reason = task.scored, task.undefined_reason
    key = (shard.claim.run_id, shard.claim.layer, scored.neuron)
    if task.partner is None or reason is not None:
        return ControlScoreRow(*key, None, None, *astuple(unscored(reason or NO_PARTNER)))
    # float16 first, as simulations are stored: `verify` would find another score otherwise.
    expected = [simulated[excerpt].astype(np.float16) for excerpt in scored.excerpts.tolist()]
    scores = astuple(score_neuron(scored.true, expected, scored.n_top))
    return ControlScoreRow(*key, task.partner.neuron, task.partner.text, *scores)
