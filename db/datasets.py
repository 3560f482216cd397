"""Reading all that is stored of a run, one layer after the other, in memory that does not grow."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from sqlalchemy import Connection, RowMapping, func, select, text

from db.runs import table
from db.tables import (
    AblationTable,
    Base,
    BaselineScoreTable,
    CalibratedScoreTable,
    CandidateScoreTable,
    CandidateTable,
    ExcerptTable,
    ExplanationTable,
    ImportedNeuronTable,
    NeuronRecordsTable,
    RelatedNeuronsTable,
    RelatedTokensTable,
    RunOriginTable,
    ScorerResultTable,
    ScoreTable,
    SentenceTable,
    SimulationTable,
    TokenMeansTable,
)

AT_ONCE = 64  # rows that a cursor fetches

STORED: Mapping[str, type[Base]] = {
    "records": NeuronRecordsTable,
    "explanations": ExplanationTable,
    "simulations": SimulationTable,
    "scores": ScoreTable,
    "token_means": TokenMeansTable,
    "related_neurons": RelatedNeuronsTable,
    "related_tokens": RelatedTokensTable,
    "baseline_scores": BaselineScoreTable,
    "imported": ImportedNeuronTable,
    "calibrated_scores": CalibratedScoreTable,
    "scorers": ScorerResultTable,
    "ablations": AblationTable,
    "candidates": CandidateTable,
    "candidate_scores": CandidateScoreTable,
    "sentences": SentenceTable,
}


def snapshot(connection: Connection) -> None:
    """Make the transaction read-only, with one snapshot of the database to its end."""
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))


def stream(connection: Connection, kind: str, run_id: int, layer: int) -> Iterator[RowMapping]:
    """Yield what is stored of a layer, by neuron, from a cursor that the server keeps."""
    columns = table(STORED[kind]).c
    query = (
        select(*columns)
        .where(columns.run_id == run_id, columns.layer == layer)
        .order_by(*table(STORED[kind]).primary_key)
    )
    options = {"yield_per": AT_ONCE}
    yield from connection.execute(query, execution_options=options).mappings()


def stream_excerpts(connection: Connection, corpus_id: int) -> Iterator[RowMapping]:
    """Yield the excerpts of a corpus, in order, from a cursor that the server keeps."""
    query = (
        select(
            ExcerptTable.excerpt, ExcerptTable.document, ExcerptTable.position, ExcerptTable.tokens
        )
        .where(ExcerptTable.corpus_id == corpus_id)
        .order_by(ExcerptTable.excerpt)
    )
    options = {"yield_per": 16 * AT_ONCE}
    yield from connection.execute(query, execution_options=options).mappings()


def counts(connection: Connection, run_id: int) -> dict[str, int]:
    """Return how many rows of each kind a run has."""
    n_rows = {}
    for kind, model in STORED.items():
        query = select(func.count()).where(table(model).c.run_id == run_id)
        n_rows[kind] = int(connection.scalar(query) or 0)
    return n_rows


def neurons_by_layer(connection: Connection, run_id: int) -> dict[int, int]:
    """Return how many neurons with records each layer has."""
    layer = NeuronRecordsTable.layer
    query = select(layer, func.count()).where(NeuronRecordsTable.run_id == run_id)
    return {number: n for number, n in connection.execute(query.group_by(layer).order_by(layer))}


@dataclass(frozen=True, slots=True)
class RunOrigin:
    """Where a run has its records from; see `db.tables.RunOriginTable`."""

    source: str
    from_run: int | None
    activation_function: str


def origin(connection: Connection, run_id: int) -> RunOrigin | None:
    """Return where a run has its records from; None where it collected them itself."""
    columns = (table(RunOriginTable).c[field.name] for field in fields(RunOrigin))
    row = connection.execute(select(*columns).where(RunOriginTable.run_id == run_id)).first()
    return None if row is None else RunOrigin(*row)


def is_imported(connection: Connection, run_id: int) -> bool:
    """Return whether a run was imported: it has an origin, and no shards."""
    query = text("""
        SELECT EXISTS (SELECT FROM run_origin WHERE run_id = :run)
           AND NOT EXISTS (SELECT FROM shard WHERE run_id = :run)
    """)
    return bool(connection.execute(query, {"run": run_id}).scalar_one())


def undefined_reasons(connection: Connection, run_id: int) -> dict[str, int]:
    """Return how many neurons have no score, by reason."""
    query = text("""
        SELECT undefined_reason, count(*) FROM score
        WHERE run_id = :run AND score IS NULL GROUP BY 1 ORDER BY 1
    """)
    rows = connection.execute(query, {"run": run_id})
    return {str(reason): n for reason, n in rows}
