"""Objects of a database that are not neurogloss's, and how to drop those that are."""

from sqlalchemy import Connection, text

from db.embeddings import TABLE as VECTORS
from db.migrate import knows
from db.runs import schema_version
from db.tables.schema import METADATA

VIEWS = (
    "run_progress", "layer_progress", "run_cost", "failure_summary", "neuron_summary",
    "worker_status", "baseline_summary", "scorer_summary", "calibration_summary",
    "ablation_summary", "step_progress", "control_summary",
)  # fmt: skip
# Hosted servers often come with the second one; `embed` makes the third one. Neither holds data.
_KNOWN_EXTENSIONS = ("plpgsql", "pg_stat_statements", "vector")

# Every object in a schema depends on the schema. Members of extensions are left out, because
# their extension is named; so are sequences of columns, which go with their table.
_OBJECTS = text("""
    SELECT object.type AS kind, object.name AS name, object.identity AS identity
    FROM pg_depend AS held,
         LATERAL pg_identify_object(held.classid, held.objid, 0) AS object
    WHERE held.refclassid = 'pg_namespace'::regclass
      AND held.refobjid = to_regnamespace('public')
      AND NOT EXISTS (
          SELECT FROM pg_depend AS other
          WHERE other.classid = held.classid AND other.objid = held.objid
            AND (other.deptype = 'e' OR object.type = 'sequence' AND other.deptype IN ('a', 'i'))
      )
    ORDER BY 1, 3
""")
_EXTENSIONS = text("SELECT extname FROM pg_extension WHERE extname <> ALL (:known) ORDER BY 1")
_SCHEMAS = text("""
    SELECT quote_ident(nspname) FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'information_schema') ORDER BY 1
""")


def foreign_objects(connection: Connection) -> list[str]:
    """Return what is in the database and not neurogloss's, as in ["table public.invoice"].

    Tables with names of ours are ours only at a schema version that this code knows.
    """
    known = {"known": list(_KNOWN_EXTENSIONS)}
    tables, views = _own_names(connection)
    own = {("table", name) for name in tables} | {("view", name) for name in views}
    return [
        *(f"schema {name}" for name in connection.scalars(_SCHEMAS)),
        *(f"extension {name}" for name in connection.scalars(_EXTENSIONS, known)),
        *(
            f"{row.kind} {row.identity}"
            for row in connection.execute(_OBJECTS)
            if (row.kind, row.name) not in own
        ),
    ]


def drop_own_objects(connection: Connection) -> None:
    """Drop neurogloss's tables and views, and nothing else.

    Without CASCADE: where anything else depends on them, the server refuses.
    """
    tables, views = _own_names(connection)
    here = {(row.kind, row.name) for row in connection.execute(_OBJECTS)}
    for kind, names in (("view", views), ("table", tables)):
        if listed := ", ".join(f'public."{name}"' for name in names if (kind, name) in here):
            connection.execute(text(f"DROP {kind} {listed} RESTRICT"))


def _own_names(connection: Connection) -> tuple[list[str], list[str]]:
    """Return the names of tables and views that are ours; none without our schema version."""
    version = schema_version(connection)
    if version is None:
        return ["alembic_version"], []  # as downgrading to the base leaves it: empty
    if not knows(version):
        return [], []
    return sorted({*METADATA.tables, VECTORS, "alembic_version"}), sorted(VIEWS)
