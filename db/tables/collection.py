"""Parts, maxima and bounds of layers, stored until the records of a layer are selected."""

from sqlalchemy import SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, run_key


class CollectPartTable(Base):
    """What one shard, or several that were merged, keep of one layer.

    Kept record i is the activations `kept_activations[i]`, float16 (n_kept, excerpt_tokens), of
    column `kept_columns[i]` on excerpt `kept_excerpts[i]` (int32); after the end of a short excerpt
    they are -inf. `moments` is float64 (n_blocks, 4, n_neurons), and `blocks` int32 (n_blocks, 3):
    see `neurogloss.neurons.moments.TileSums`. `nonfinite` is uint8 (n_neurons,). A column is a
    place among the layer's neurons of the run.
    """

    __tablename__ = "collect_part"

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    start: Mapped[int] = mapped_column(primary_key=True)
    kept_columns: Mapped[bytes]
    kept_excerpts: Mapped[bytes]
    kept_activations: Mapped[bytes]
    blocks: Mapped[bytes]
    moments: Mapped[bytes]
    nonfinite: Mapped[bytes]


class CollectMaximaTable(Base):
    """Maxima on the reference excerpts of a shard, float16 (n_excerpts, n_neurons)."""

    __tablename__ = "collect_maxima"

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    start: Mapped[int] = mapped_column(primary_key=True)
    maxima: Mapped[bytes]


class CollectBoundTable(Base):
    """Bounds on what the records of a layer may still need, while the corpus is read.

    `boundaries` is float32 (n_neurons, 4). `bars` is int64 (7, n_neurons): the highest keys with
    which an excerpt can still become a top, random or bucket record. They only fall, so that
    reading an old row costs space and not exactness.
    """

    __tablename__ = "collect_bound"

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    boundaries: Mapped[bytes]
    bars: Mapped[bytes]
