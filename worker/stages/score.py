"""Score: how well simulations match the true activations; then the scorers of `scoring.also`."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple

from sqlalchemy import Connection

from db import results
from db.evaluations import CalibratedScoreRow, calibrated_scores, scorer_results
from db.results import ScoreRow
from db.session import transaction
from neurogloss.neurons.calibration import CalibratedScore, calibrate
from neurogloss.neurons.records import FloatArray
from neurogloss.neurons.scoring import NeuronScore, score_neurons, unscored
from neurogloss.neurons.splits import Split
from neurogloss.stages import up_to
from worker.shard import ClaimedShard
from worker.stages.classify import classify
from worker.stages.scored_records import ScoredRecords, scored_records

# What was simulated of each neuron on each excerpt, float16 (n_tokens,).
Simulated = Mapping[int, Mapping[int, FloatArray]]


def score(shard: ClaimedShard) -> None:
    """Score the neurons of a shard that have no score yet.

    A neuron that failed in an earlier stage gets no score, and counts as failed in this one.
    """
    run_id, layer, start, stop = shard.neuron_range
    with transaction(shard.engine) as connection:
        stored = results.scored(connection, *shard.neuron_range)
        failed = results.failed(connection, run_id, up_to("simulate"), layer, start, stop)
        simulated = results.expected_activations(connection, *shard.neuron_range)
        held_back = _held_back(connection, shard)
        wanted = [
            scored
            for scored in scored_records(connection, shard, layer, start, stop)
            if scored.neuron not in stored | failed
        ]
    scores = [
        ScoreRow(run_id, layer, one.neuron, *astuple(its_scores))
        for one, its_scores in zip(wanted, _scores(wanted, simulated), strict=True)
    ]
    calibrated = [
        row
        for one in (wanted if held_back else [])
        for row in _calibrated(shard, held_back[one.neuron], one, simulated.get(one.neuron, {}))
    ]
    # Before the transaction, which would be open as long as the calls take.
    classified, failures = classify(shard)
    with shard.committing() as connection:
        results.scores.save(connection, scores)
        calibrated_scores.save(connection, calibrated)
        scorer_results.save(connection, classified)
        results.failures.save(connection, failures)


def _held_back(connection: Connection, shard: ClaimedShard) -> dict[int, ScoredRecords]:
    """Return the calibration split by neuron; nothing in a run without calibration."""
    if not shard.config.scoring.calibration:
        return {}
    _, layer, start, stop = shard.neuron_range
    of_split = scored_records(connection, shard, layer, start, stop, Split.CALIBRATION)
    return {records.neuron: records for records in of_split}


def expected_on(records: ScoredRecords, simulated: Mapping[int, FloatArray]) -> list[FloatArray]:
    """Return what was simulated on each of some records, float16 (n_tokens,)."""
    return [simulated[excerpt] for excerpt in records.excerpts.tolist()]


def _scores(wanted: Sequence[ScoredRecords], simulated: Simulated) -> Iterator[NeuronScore]:
    """Yield the scores of each neuron."""
    by_n_top: dict[int, list[ScoredRecords]] = defaultdict(list)
    for one in wanted:
        if one.undefined_reason is None:
            by_n_top[one.n_top].append(one)
    # Together, which is many times as fast as one by one, and gives the same bits.
    scores: dict[int, NeuronScore] = {}
    for n_top, alike in by_n_top.items():
        expected = [expected_on(one, simulated.get(one.neuron, {})) for one in alike]
        together = score_neurons([one.true for one in alike], expected, n_top)
        scores |= zip((one.neuron for one in alike), together, strict=True)
    for one in wanted:
        reason = one.undefined_reason
        yield scores[one.neuron] if reason is None else unscored(reason)


def _calibrated(
    shard: ClaimedShard,
    held_back: ScoredRecords,
    scored: ScoredRecords,
    simulated: Mapping[int, FloatArray],
) -> Iterator[CalibratedScoreRow]:
    """Yield the scores of a neuron after each calibration that its run asks for."""
    for kind in shard.config.scoring.calibration:
        if scored.undefined_reason is not None:
            calibrated = CalibratedScore(unscored(scored.undefined_reason))
        else:
            on_held_back = held_back.true, expected_on(held_back, simulated)
            on_scored = scored.true, expected_on(scored, simulated)
            calibrated = calibrate(kind, on_held_back, on_scored, scored.n_top)
        line = (None, None) if calibrated.line is None else astuple(calibrated.line)
        key = (shard.claim.run_id, shard.claim.layer, scored.neuron, kind)
        yield CalibratedScoreRow(*key, *astuple(calibrated.scores), *line)
