"""Database roles with no more rights than their processes need.

The owner of the tables migrates them and does nothing else. `orchestrator` changes rows of any
table; `worker` stores results and moves shards, but cannot change what a run is about; `reader`
only reads; `web`, of the pages, also asks about texts and adds notes.
"""

import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

PREFIX = "neurogloss_"
READER = f"{PREFIX}reader"
ROLES = ("orchestrator", "worker", "reader", "web")

_INSERTS = (
    "call", "repeated_call", "explanation", "simulation", "score", "failure", "neuron_records",
    "token_means", "related_neurons", "related_tokens", "baseline_score", "scorer_result",
    "candidate", "candidate_score", "sentence", "calibrated_score", "ablation",
    "collect_part", "collect_maxima", "collect_bound", "throughput", "spend",
    "call_minute", "retried_calls", "budget_hold", "batch", "batch_request", "batch_wait",
    "worker", "run_device", "text_result", "listed_neuron", "run_lock",
    "control_score", "control_simulation",
)  # fmt: skip
_UPDATES = (
    "shard", "progress", "throughput", "spend", "call", "call_minute", "collect_bound",
    "budget_hold", "batch", "batch_request", "worker", "listed_neuron", "run_lock",
    "sentence (tokens, activations)",
    "run (state, pause_cause, pause_reason, paused_at, batches_due_at)",
    "text_request (state, error_class, message, started_at, finished_at, attempts, token,"
    " lease_until, worker)",
)  # fmt: skip
_DELETES = (
    "collect_part", "collect_maxima", "collect_bound", "budget_hold", "batch_request",
    "batch_wait", "worker", "run_lock", "retried_calls",
)  # fmt: skip

_WEB_INSERTS = (
    "neuron_note (run_id, layer, neuron, flag, text, author)",
    "text_request (run_id, text, target, versus, baseline, ablate, requested_by)",
)


_IS_THERE = text("SELECT 1 FROM pg_roles WHERE rolname = :role")


def apply_roles(connection: Connection, passwords: Mapping[str, str]) -> None:
    """Create the roles with these passwords and set their rights. Idempotent.

    The caller must own the tables and may create roles. Rights that are not listed are revoked.
    """
    for role in ROLES:
        _make(connection, PREFIX + role, passwords[role])
    database = _quoted(connection, connection.execute(text("SELECT current_database()")).scalar())
    everyone = ", ".join(PREFIX + role for role in ROLES)
    statements = [
        f"REVOKE ALL ON DATABASE {database} FROM PUBLIC, {everyone}",
        f"REVOKE ALL ON SCHEMA public FROM PUBLIC, {everyone}",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, {everyone}",
        f"GRANT CONNECT ON DATABASE {database} TO {everyone}",
        # Rows are copied into a temporary table first.
        f"GRANT TEMPORARY ON DATABASE {database} TO {PREFIX}orchestrator, {PREFIX}worker",
        f"GRANT USAGE ON SCHEMA public TO {everyone}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {everyone}",
        f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {PREFIX}orchestrator",
        # Only the owner of the tables migrates.
        f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {PREFIX}orchestrator",
        *(f"GRANT INSERT ON {table} TO {PREFIX}worker" for table in _INSERTS),
        *(_grant("UPDATE", table, "worker") for table in _UPDATES),
        *(f"GRANT DELETE ON {table} TO {PREFIX}worker" for table in _DELETES),
        *(_grant("INSERT", table, "web") for table in _WEB_INSERTS),
    ]
    for statement in statements:
        connection.execute(text(statement))


def let_reader_read(connection: Connection) -> None:
    """Make the reader, if it is missing, and let it read all tables there are. Idempotent.

    Its password, of which nobody hears, matters where the server asks for one.
    """
    if connection.scalar(_IS_THERE, {"role": READER}) is None:
        _make(connection, READER, secrets.token_urlsafe(32))
    connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {READER}"))
    connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}"))


def _grant(right: str, target: str, role: str) -> str:
    table, _, columns = target.partition(" ")
    return f"GRANT {right} {columns} ON {table} TO {PREFIX}{role}"


def _make(connection: Connection, role: str, password: str) -> None:
    # Hashed here: what is sent may be in the server's log.
    driver: Any = connection.dialect.dbapi
    connected = connection.connection.dbapi_connection
    secret = driver.extensions.encrypt_password(password, role, connected, "scram-sha-256")
    verb = "CREATE" if connection.scalar(_IS_THERE, {"role": role}) is None else "ALTER"
    # PostgreSQL takes no parameters here, and the driver puts the hash in as a literal.
    connection.exec_driver_sql(
        f"{verb} ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION "
        "NOBYPASSRLS PASSWORD %(secret)s",
        {"secret": secret},
    )


def _quoted(connection: Connection, name: str | None) -> str:
    return connection.dialect.identifier_preparer.quote(name or "")
