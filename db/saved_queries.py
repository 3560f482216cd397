"""Queries to begin with: those of the page /sql, and of docs/sql.md, which is written from them.

`make docs` writes it; a test compares it with the code, and asks every query of a real run.
"""

import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

RUN, OTHER_RUN = "'mine'", "'other'"
"""What stands in a query for the names of runs."""

_INTRODUCTION = """\
# SQL cookbook

Everything that a run knows is in Postgres. Use `neurogloss sql "..."` (`--json` for machines), the page `/sql` of `neurogloss serve`, which has these queries as links, or any client as the role `neurogloss_reader`, which can only read. With compose:

```console
$ docker compose exec postgres psql -U neurogloss -c 'SELECT * FROM run_progress'
$ psql postgresql://neurogloss_reader:PASSWORD@127.0.0.1:5432/neurogloss -c 'SELECT * FROM run_progress'     # from the host; READER_DB_PASSWORD of .env
```

`mine` stands for the name of your run. Views have the run's name in `run`; tables have `run_id`. Activations and simulations are float16 arrays in `bytea` columns; `neurogloss neuron --json` and the exports decode them. Every query here is run by a test, and this page is written from `db/saved_queries.toml`: `make docs`.
"""  # noqa: E501


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A query, and what it answers."""

    section: str
    title: str
    sql: str

    def about(self, run: str, other: str | None = None) -> str:
        """Return the query about a run of this name, and another one."""
        query = self.sql.replace(RUN, _literal(run))
        return query if other is None else query.replace(OTHER_RUN, _literal(other))


def _literal(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


@cache
def saved_queries() -> tuple[SavedQuery, ...]:
    """Return all of them, in the order of the page."""
    stored = tomllib.loads(files("db").joinpath("saved_queries.toml").read_text("utf-8"))
    return tuple(
        SavedQuery(section["title"], query["title"], query["sql"].strip())
        for section in stored["section"]
        for query in section["query"]
    )


def cookbook() -> str:
    """Return docs/sql.md."""
    return "\n".join([_INTRODUCTION, *_parts()])


def _parts() -> Iterator[str]:
    section = None
    for query in saved_queries():
        if query.section != section:
            section = query.section
            yield f"## {section}\n"
        ends = query.title if query.title.endswith("?") else f"{query.title}:"
        yield f"{ends}\n\n```sql\n{query.sql}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(cookbook())
