"""Where the records of a run come from, if it did not collect them itself."""

from datetime import datetime

from sqlalchemy import ForeignKey, SmallInteger, func
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, run_key


class RunOriginTable(Base):
    """Where the records of a run come from: a published dataset, or another run.

    `source` is the folder, the URL, or the run. `activation_function` is that of the subject model
    that the records were made with; it is "optimized GELU" for what OpenAI published.
    """

    __tablename__ = "run_origin"

    run_id: Mapped[int] = run_key()
    source: Mapped[str]
    from_run: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"))
    activation_function: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ImportedNeuronTable(Base):
    """Values of a published neuron that have no place in the other tables.

    `published_score` is the score as published; the one in `score` is computed from the records as
    they are stored. `scored_excerpts` are the excerpts that its simulations are on, in order, of
    which the first `n_top` are those of top records; NULL where they are the valid split.
    `published_scores` are those of the explanation and then of each simulation, float64 (n, 3) with
    NaN for null; NULL where an export computes the same ones.
    """

    __tablename__ = "imported_neuron"

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    published_score: Mapped[float | None]
    scored_excerpts: Mapped[list[int] | None]
    n_top: Mapped[int | None] = mapped_column(SmallInteger)
    published_scores: Mapped[bytes | None]
