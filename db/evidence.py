"""Some of a run's results, from which can be seen whether they mean anything."""

from sqlalchemy import Connection, text

from db import devices
from db.control_summary import control_summary
from neurogloss.neurons.alarms import Evidence, ScoreCounts

LIMIT = 1000  # of each kind: it takes milliseconds, however large the run

# The subquery is answered once: where nothing but lookups is to be found, all rows would be read
# for it.
_EXPLANATIONS = text("""
    SELECT text FROM explanation
    WHERE run_id = :run AND explainer <> 'lookup'
      AND (SELECT config #>> '{explainer,kind}' FROM run WHERE id = :run)
          IS DISTINCT FROM 'lookup'
    LIMIT :limit
""")
_SIMULATIONS = text("""
    SELECT expected_activations, covered FROM simulation
    WHERE run_id = :run AND simulator <> 'lookup'
      AND (SELECT config #>> '{simulator,kind}' FROM run WHERE id = :run)
          IS DISTINCT FROM 'lookup'
    LIMIT :limit
""")

# By an index that has these states alone, and a counter: rows of all neurons would take too long.
_RARE = text("""
    SELECT count(*) FILTER (WHERE state = 'undefined'), count(*) FILTER (WHERE state = 'failed')
    FROM listed_neuron WHERE run_id = :run AND state IN ('failed', 'undefined')
""")
_FINISHED = text("""
    SELECT coalesce(sum(done + failed), 0)::int FROM progress
    WHERE run_id = :run AND stage = 'score'
""")


def evidence_of(connection: Connection, run_id: int) -> Evidence:
    """Return results of a run that models wrote, those that are found first; and its devices."""
    values = {"run": run_id, "limit": LIMIT}
    explanations = list(connection.scalars(_EXPLANATIONS, values))
    simulations = connection.execute(_SIMULATIONS, values).all()
    covered = [covered for _, covered in simulations if covered is not None]
    answers = [bytes(answer) for answer, _ in simulations]
    return Evidence(
        explanations,
        answers,
        sum(covered) / len(covered) if covered else None,
        control_summary(connection, run_id),
        _score_counts(connection, run_id),
        devices.of_run(connection, run_id),
    )


def _score_counts(connection: Connection, run_id: int) -> ScoreCounts:
    undefined, failed = connection.execute(_RARE, {"run": run_id}).one()
    finished: int = connection.execute(_FINISHED, {"run": run_id}).scalar_one()
    return ScoreCounts(max(0, finished - undefined - failed), undefined, failed)
