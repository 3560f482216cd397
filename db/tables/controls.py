"""Controls of scores: simulations of neurons from the explanations of others."""

from sqlalchemy import SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, ScoreColumns, call_index, run_key


class ControlScoreTable(ScoreColumns, Base):
    """The scores of a neuron that is simulated from another one's explanation.

    `partner` is that other neuron of the same layer, and `explanation` what it was when the neuron
    was simulated from it. Both are NULL where there is no partner, or the neuron cannot be
    explained. Scores are as in `score`, and on the same records.
    """

    __tablename__ = "control_score"

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    partner: Mapped[int | None]
    explanation: Mapped[str | None]


class ControlSimulationTable(Base):
    """A neuron's expected activations on one excerpt, from another's explanation.

    Float16 (n_tokens,), on the scale of the run's simulations. `call` is as in `simulation`.
    """

    __tablename__ = "control_simulation"
    __table_args__ = (call_index("control_simulation"),)

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    excerpt: Mapped[int] = mapped_column(primary_key=True)
    expected_activations: Mapped[bytes]
    call: Mapped[bytes]
