"""Explanations by meaning: their embeddings, and the neurons nearest to a text.

The table of vectors needs the extension pgvector, which not every server has. So no migration makes
it but `prepare`, when embeddings are asked for; a backup leaves it out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from db.roles import PREFIX, ROLES
from db.tables.embeddings import run_embedding_table
from neurogloss.errors import InputError

TABLE = "explanation_embedding"
CANDIDATES = 200  # of the index in a search: more are nearer to what is truly nearest, and slower


@dataclass(frozen=True, slots=True)
class RunEmbedding:
    """The model that embeds a run's explanations; see `RunEmbeddingColumns`."""

    run_id: int
    base_url: str
    api_key_env: str | None
    model: str
    dimensions: int


class UnembeddedExplanation(NamedTuple):
    """An explanation without an embedding of its present text."""

    layer: int
    neuron: int
    text: str


class Unembedded(NamedTuple):
    """How many explanations have no embedding, and how many characters they have."""

    explanations: int
    characters: int


@dataclass(frozen=True, slots=True)
class NearNeuron:
    """A neuron whose explanation is near to a text. `similarity` is the cosine, from -1 to 1."""

    layer: int
    neuron: int
    similarity: float
    state: str
    score: float | None
    explanation: str


def find(connection: Connection, run_id: int) -> RunEmbedding | None:
    """Return how a run's explanations are embedded; None if they are not."""
    if not is_prepared(connection):  # as after a backup was restored
        return None
    columns = ", ".join(field.name for field in fields(RunEmbedding))
    query = text(f"SELECT {columns} FROM run_embedding WHERE run_id = :run")  # noqa: S608  (our own names)
    row = connection.execute(query, {"run": run_id}).first()
    return None if row is None else RunEmbedding(*row)


def prepare(connection: Connection) -> None:
    """Make the extension and the table of vectors, if they are missing.

    Raises:
        InputError: The server has no pgvector, or this user may not make them.
    """
    if is_prepared(connection):
        return
    try:
        for statement in _MAKE:
            connection.execute(text(statement))
    except DBAPIError as error:
        reason = str(error.orig).split("\n", 1)[0]
        raise InputError(
            f"searches by meaning need the extension pgvector ({reason}). The embedded database "
            "has it, and so have the images pgvector/pgvector; the owner of the database makes it"
        ) from error
    for role in ROLES:
        name = PREFIX + role
        if connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": name}):
            rights = "SELECT, INSERT, UPDATE, DELETE" if role == "orchestrator" else "SELECT"
            connection.execute(text(f"GRANT {rights} ON {TABLE} TO {name}"))


# halfvec: half the space of float32, which costs searches nothing that can be seen.
_MAKE = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    f"""
    CREATE TABLE {TABLE} (
        run_id integer, layer smallint, neuron integer,
        text_md5 uuid NOT NULL, embedding halfvec NOT NULL,
        PRIMARY KEY (run_id, layer, neuron),
        FOREIGN KEY (run_id, layer, neuron) REFERENCES explanation ON DELETE CASCADE
    )
    """,
)


def is_prepared(connection: Connection) -> bool:
    """Return whether there is a table of vectors."""
    return connection.scalar(text("SELECT to_regclass(:name)"), {"name": TABLE}) is not None


# Of white space alone nothing can be embedded.
_WITHOUT = f"""
    FROM explanation LEFT JOIN {TABLE} AS stored USING (run_id, layer, neuron)
    WHERE run_id = :run AND text ~ '\\S' AND stored.text_md5 IS DISTINCT FROM md5(text)::uuid
"""


def count_unembedded(connection: Connection, run_id: int) -> Unembedded:
    """Return how much of a run is to be embedded."""
    if not is_prepared(connection):
        source = "FROM explanation WHERE run_id = :run AND text ~ '\\S'"
    else:
        source = _WITHOUT
    query = text(f"SELECT count(*), coalesce(sum(length(text)), 0) {source}")
    return Unembedded(*connection.execute(query, {"run": run_id}).one())


def unembedded(
    connection: Connection, run_id: int, after: tuple[int, int], limit: int
) -> list[UnembeddedExplanation]:
    """Return the next explanations to embed, after (layer, neuron)."""
    query = text(f"""
        SELECT layer, neuron, text {_WITHOUT} AND (layer, neuron) > (:layer, :neuron)
        ORDER BY layer, neuron LIMIT :limit
    """)
    values = {"run": run_id, "layer": after[0], "neuron": after[1], "limit": limit}
    return [UnembeddedExplanation(*row) for row in connection.execute(query, values)]


def save(
    connection: Connection,
    by: RunEmbedding,
    explanations: Sequence[UnembeddedExplanation],
    vectors: NDArray[np.float32],
    tokens: int,
    usd: float,
) -> None:
    """Store embeddings (n_explanations, n_dimensions) and what they have cost.

    An explanation that has changed meanwhile keeps this embedding until it is embedded again.
    """
    values = {
        "run": by.run_id,
        "layers": [one.layer for one in explanations],
        "neurons": [one.neuron for one in explanations],
        "texts": [one.text for one in explanations],
        "vectors": [_as_text(vector) for vector in vectors],
    }
    connection.execute(_SAVE, values)
    row = {field.name: getattr(by, field.name) for field in fields(by)}
    statement = insert(run_embedding_table).values(**row, tokens=tokens, usd=usd)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["run_id"],
            set_={
                "tokens": run_embedding_table.c.tokens + tokens,
                "usd": run_embedding_table.c.usd + usd,
                "updated_at": text("now()"),
            },
        )
    )


_SAVE = text(f"""
    INSERT INTO {TABLE} (run_id, layer, neuron, text_md5, embedding)
    SELECT :run, new.layer, new.neuron, md5(new.text)::uuid, CAST(new.vector AS halfvec)
    FROM unnest(CAST(:layers AS smallint[]), CAST(:neurons AS int[]), CAST(:texts AS text[]),
                CAST(:vectors AS text[])) AS new (layer, neuron, text, vector)
    JOIN explanation ON run_id = :run AND explanation.layer = new.layer
                    AND explanation.neuron = new.neuron
    ON CONFLICT (run_id, layer, neuron) DO UPDATE
        SET text_md5 = excluded.text_md5, embedding = excluded.embedding
""")  # noqa: S608  (a constant)


def _as_text(vector: NDArray[np.float32]) -> str:
    # Six digits are more than float16 keeps.
    return "[" + ",".join(f"{value:.6g}" for value in vector.tolist()) + "]"


def build_index(connection: Connection, by: RunEmbedding) -> None:
    """Make the index by which a run's embeddings are searched, if it is missing."""
    connection.execute(
        text(f"""
            CREATE INDEX IF NOT EXISTS ix_{TABLE}_{by.run_id} ON {TABLE}
            USING hnsw ((embedding::halfvec({by.dimensions})) halfvec_cosine_ops)
            WHERE run_id = {by.run_id}
        """)
    )
    connection.execute(text(f"ANALYZE {TABLE}"))


def drop(connection: Connection, run_id: int) -> None:
    """Delete a run's embeddings, as before it is embedded by another model."""
    connection.execute(text(f"DROP INDEX IF EXISTS ix_{TABLE}_{run_id}"))
    if is_prepared(connection):
        connection.execute(text(f"DELETE FROM {TABLE} WHERE run_id = :run"), {"run": run_id})  # noqa: S608
    connection.execute(text("DELETE FROM run_embedding WHERE run_id = :run"), {"run": run_id})


def nearest(
    connection: Connection, by: RunEmbedding, vector: NDArray[np.float32], limit: int
) -> list[NearNeuron]:
    """Return the neurons whose explanations are nearest to an embedding, the nearest first."""
    connection.execute(text(f"SET LOCAL hnsw.ef_search = {max(CANDIDATES, limit)}"))
    # The run's number stands in the text: only so the server sees that its own index will do.
    distance = f"embedding::halfvec({by.dimensions}) <=> CAST(:vector AS halfvec({by.dimensions}))"
    query = text(f"""
        WITH near AS MATERIALIZED (
            SELECT layer, neuron, {distance} AS distance FROM {TABLE}
            WHERE run_id = {by.run_id} ORDER BY {distance} LIMIT :limit)
        SELECT near.layer, near.neuron, 1 - distance, listed.state, listed.score, text
        FROM near JOIN explanation USING (layer, neuron)
        JOIN listed_neuron AS listed USING (run_id, layer, neuron)
        WHERE run_id = {by.run_id} ORDER BY distance, near.layer, near.neuron
    """)  # noqa: S608  (constants and integers)
    rows = connection.execute(query, {"vector": _as_text(vector), "limit": limit})
    return [NearNeuron(*row) for row in rows]
