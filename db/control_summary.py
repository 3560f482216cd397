"""A summary of the controls of a run: the view control_summary."""

from dataclasses import fields

from sqlalchemy import Connection, text

from neurogloss.neurons.control_summary import ControlSummary

_SUMMARY = text(f"""
    SELECT {", ".join(field.name for field in fields(ControlSummary))} FROM control_summary
    WHERE run = (SELECT name FROM run WHERE id = :run)
""")  # noqa: S608  (names of our own columns)


def control_summary(connection: Connection, run_id: int) -> ControlSummary | None:
    """Return the summary of the controls so far; None if there are none."""
    row = connection.execute(_SUMMARY, {"run": run_id}).first()
    return None if row is None else ControlSummary(*row)
