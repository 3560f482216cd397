"""The kinds of device that a run's activations were computed on."""

from sqlalchemy import Connection, text


def note(connection: Connection, run_id: int, device: str) -> list[str]:
    """Record that a run's activations are computed on a kind of device, and return all kinds."""
    values = {"run": run_id, "device": device}
    connection.execute(
        text("""
            INSERT INTO run_device (run_id, device) VALUES (:run, :device) ON CONFLICT DO NOTHING
        """),
        values,
    )
    return of_run(connection, run_id)


def of_run(connection: Connection, run_id: int) -> list[str]:
    """Return the kinds of device that a run's activations were computed on, the first one first."""
    query = text("SELECT device FROM run_device WHERE run_id = :run ORDER BY first_used_at, device")
    return list(connection.scalars(query, {"run": run_id}))
