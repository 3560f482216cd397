"""A database that `benchmarks/fill.py` has filled, and the plans of queries on it."""

import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy import event

from orchestrator.local.services import ServiceUrls

ROOT = Path(__file__).parents[2]
LAYERS, NEURONS = 4, 640


def fill(database_url: str, services: ServiceUrls) -> None:
    """Store a run of LAYERS times NEURONS neurons of which seven in ten are scored."""
    size = ("--layers", str(LAYERS), "--neurons", str(NEURONS), "--scored", "0.7")
    small = ("--templates", "60", "--excerpts", "300", "--words", "3000")
    command = [sys.executable, str(ROOT / "benchmarks/fill.py"), "--name", "filled", *size, *small]
    env = {**os.environ, "DATABASE_URL": database_url, "REDIS_URL": services.redis_url}
    subprocess.run(command, env=env, check=True, capture_output=True, cwd=ROOT)


def plans(engine, ask, setting="jit = off"):
    """Return the plan of each query that a function asks of a connection, as text."""
    asked = []

    def remember(_connection, _cursor, statement, parameters, *_):
        asked.append((statement, parameters))

    with engine.connect() as connection:
        event.listen(connection, "before_cursor_execute", remember)
        ask(connection)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SET LOCAL {setting}")
        return [
            "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())
            for statement, parameters in asked
        ]
