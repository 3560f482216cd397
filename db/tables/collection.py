"""Parts, maxima and bounds of layers, stored until the records of a layer are selected."""

from sqlalchemy import Column, Named, SmallInteger, Table, TypedColumns

from db.tables.base import METADATA, run_key


class CollectPartColumns(TypedColumns):
    """What one shard, or several that were merged, keep of one layer.

    Kept record i is the activations `kept_activations[i]`, float16 (n_kept, excerpt_tokens), of
    column `kept_columns[i]` on excerpt `kept_excerpts[i]` (int32); after the end of a short excerpt
    they are -inf. `moments` is float64 (n_blocks, 4, n_neurons), and `blocks` int32 (n_blocks, 3):
    see `neurogloss.neurons.moments.TileSums`. `nonfinite` is uint8 (n_neurons,). A column is a
    place among the layer's neurons of the run.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    start: Named[int] = Column(primary_key=True)
    kept_columns: Named[bytes]
    kept_excerpts: Named[bytes]
    kept_activations: Named[bytes]
    blocks: Named[bytes]
    moments: Named[bytes]
    nonfinite: Named[bytes]


collect_part_table = Table("collect_part", METADATA, CollectPartColumns)


class CollectMaximaColumns(TypedColumns):
    """Maxima on the reference excerpts of a shard, float16 (n_excerpts, n_neurons)."""

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    start: Named[int] = Column(primary_key=True)
    maxima: Named[bytes]


collect_maxima_table = Table("collect_maxima", METADATA, CollectMaximaColumns)


class CollectBoundColumns(TypedColumns):
    """Bounds on what the records of a layer may still need, while the corpus is read.

    `boundaries` is float32 (n_neurons, 4). `bars` is int64 (7, n_neurons): the highest keys with
    which an excerpt can still become a top, random or bucket record. They only fall, so that
    reading an old row costs space and not exactness.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    boundaries: Named[bytes]
    bars: Named[bytes]


collect_bound_table = Table("collect_bound", METADATA, CollectBoundColumns)
