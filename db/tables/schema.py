"""The whole schema: the metadata, once every table is declared in it."""

from db.tables import (  # noqa: F401  (imported for what they declare)
    batches,
    calls,
    candidates,
    collection,
    connections,
    controls,
    corpus,
    devices,
    embeddings,
    evaluations,
    lists,
    locks,
    notes,
    origins,
    records,
    results,
    runs,
    texts,
)
from db.tables.base import METADATA as METADATA
