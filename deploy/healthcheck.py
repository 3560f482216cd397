"""Exits 0 if this container does its work: `python deploy/healthcheck.py worker NAME | loop | web`.

`worker NAME`: the worker's heartbeat in Postgres is fresh.
`loop`: no lease of a run that is running ran out a while ago, as the dispatch loop takes each back,
and the run of every file that `orchestrate` was given has begun.
`web`: the server of pages answers, and reaches the database.
"""

import os
import socket
import sys
from pathlib import Path
from urllib.request import Request, urlopen

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from db import heartbeats
from db.session import make_engine, transaction
from neurogloss.config.settings import with_driver

HEARD_WITHIN_S = 60.0  # a worker says so every 30 s or more often
OVERDUE_S = 60.0  # the loop comes round several times a second


def is_heard(connection: Connection, name: str) -> bool:
    """Return whether the worker `name` of this host was heard of lately."""
    return heartbeats.heard_lately(connection, f"{name}@{socket.gethostname()}", HEARD_WITHIN_S)


def is_looping(connection: Connection) -> bool:
    """Return whether no shard of a running run is overdue."""
    query = text("""
        SELECT count(*) FROM shard JOIN run ON run.id = shard.run_id
        WHERE run.state = 'running' AND shard.state IN ('queued', 'leased')
          AND lease_until < now() - :overdue * interval '1 second'
    """)
    return int(connection.execute(query, {"overdue": OVERDUE_S}).scalar_one()) == 0


def not_begun() -> str:
    """Return why runs could not begin, which `neurogloss orchestrate` leaves in a file."""
    note = Path(os.environ.get("NEUROGLOSS_HOME", ".neurogloss"), "not-begun")
    return note.read_text(encoding="utf-8") if note.exists() else ""


def is_served() -> bool:
    """Return whether the pages answer; they do only while the database does."""
    token = os.environ.get("NEUROGLOSS_WEB_TOKEN", "")
    request = Request("http://127.0.0.1:8200/health", headers={"Authorization": f"Bearer {token}"})
    try:
        with urlopen(request, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def trouble_of(arguments: list[str]) -> str | None:
    """Return what is wrong with what the arguments name, if anything is."""
    if arguments == ["web"]:
        return None if is_served() else "the pages do not answer"
    engine = make_engine(with_driver(os.environ["DATABASE_URL"]), pool_size=1)
    try:
        with transaction(engine) as connection:
            match arguments:
                case ["worker", name]:
                    return None if is_heard(connection, name) else f"{name}: no recent heartbeat"
                case ["loop"] if not is_looping(connection):
                    return "leases ran out and stay so"
                case ["loop"]:
                    return not_begun() or None
                case _:
                    return f"usage: {__doc__}"
    except SQLAlchemyError as error:
        return f"Postgres: {error}"


def main(arguments: list[str]) -> int:
    """Check what the arguments name; a line on standard error says what is wrong."""
    trouble = trouble_of(arguments)
    if trouble is not None:
        print(trouble, file=sys.stderr)
    return 0 if trouble is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
