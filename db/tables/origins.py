"""Where the records of a run come from, if it did not collect them itself."""

from datetime import datetime

from sqlalchemy import (
    Column,
    Double,
    ForeignKey,
    Integer,
    Named,
    SmallInteger,
    Table,
    Text,
    TypedColumns,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY

from db.tables.base import METADATA, TIMESTAMPTZ, run_key


class RunOriginColumns(TypedColumns):
    """Where the records of a run come from: a published dataset, or another run.

    `source` is the folder, the URL, or the run. `activation_function` is that of the subject model
    that the records were made with; it is "optimized GELU" for what OpenAI published.
    """

    run_id: Named[int] = run_key()
    source: Named[str] = Column(Text)
    from_run: Named[int | None] = Column(ForeignKey("run.id", ondelete="SET NULL"))
    activation_function: Named[str] = Column(Text)
    created_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())


run_origin_table = Table("run_origin", METADATA, RunOriginColumns)


class ImportedNeuronColumns(TypedColumns):
    """Values of a published neuron that have no place in the other tables.

    `published_score` is the score as published; the one in `score` is computed from the records as
    they are stored. `scored_excerpts` are the excerpts that its simulations are on, in order, of
    which the first `n_top` are those of top records; NULL where they are the valid split.
    `published_scores` are those of the explanation and then of each simulation, float64 (n, 3) with
    NaN for null; NULL where an export computes the same ones.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    published_score: Named[float | None] = Column(Double)
    scored_excerpts: Named[list[int] | None] = Column(ARRAY(Integer))
    n_top: Named[int | None] = Column(SmallInteger)
    published_scores: Named[bytes | None]


imported_neuron_table = Table("imported_neuron", METADATA, ImportedNeuronColumns)
