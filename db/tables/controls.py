"""Controls of scores: simulations of neurons from the explanations of others."""

from sqlalchemy import Column, Named, SmallInteger, Table, Text, TypedColumns

from db.tables.base import METADATA, ScoreValueColumns, call_index, run_key


class ControlScoreColumns(ScoreValueColumns):
    """The scores of a neuron that is simulated from another one's explanation.

    `partner` is that other neuron of the same layer, and `explanation` what it was when the neuron
    was simulated from it. Both are NULL where there is no partner, or the neuron cannot be
    explained. Scores are as in `score`, and on the same records.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    partner: Named[int | None]
    explanation: Named[str | None] = Column(Text)


control_score_table = Table("control_score", METADATA, ControlScoreColumns)


class ControlSimulationColumns(TypedColumns):
    """A neuron's expected activations on one excerpt, from another's explanation.

    Float16 (n_tokens,), on the scale of the run's simulations. `call` is as in `simulation`.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    excerpt: Named[int] = Column(primary_key=True)
    expected_activations: Named[bytes]
    call: Named[bytes]


control_simulation_table = Table(
    "control_simulation",
    METADATA,
    ControlSimulationColumns,
    call_index("control_simulation"),
)
