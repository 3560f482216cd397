"""A query of a person: bounded, confined to reading, and explained where it fails."""

import pytest
from sqlalchemy import text

from db.read_only import is_superuser, read_only_rows
from db.roles import READER, let_reader_read
from db.session import Patience, make_engine, transaction, with_patience
from neurogloss.errors import InputError


def test_a_limit_cuts_the_rows_and_says_so(engine):
    found = read_only_rows(engine, "SELECT i FROM generate_series(1, 1000) AS i", 3)
    assert (found.columns, found.rows, found.is_cut) == (["i"], [(1,), (2,), (3,)], True)
    assert not read_only_rows(engine, "VALUES (1), (2), (3)", 3).is_cut


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        pytest.param("SELECT pg_sleep(60)", "took too long", id="slow"),
        pytest.param(
            "SELECT set_config('statement_timeout', '0', true), pg_sleep(60)",
            "took too long",
            id="a time-out of its own",
        ),
        pytest.param("SELECT 1; SELECT 2", "single, read-only statement", id="two statements"),
        pytest.param("DELETE FROM run", "single, read-only statement", id="it writes"),
        pytest.param("SELECT nextval('shard_id_seq')", "read-only transaction", id="a sequence"),
        pytest.param("SELECT nothing FROM run", "character 8", id="a name that is unknown"),
        pytest.param("SELECT '\0'", "NUL", id="NUL"),
        pytest.param("SELECT '10000-01-01'::date", "failed", id="no such value"),
    ],
)
def test_a_query_that_fails_says_why(engine, query, reason):
    impatient = with_patience(engine, Patience(idle_s=5.0, statement_s=0.3))
    with pytest.raises(InputError, match=reason):
        read_only_rows(impatient, query, 10)


def test_every_query_has_a_session_of_its_own_whose_locks_and_settings_end_with_it(engine):
    first, second = (read_only_rows(engine, "SELECT pg_backend_pid()").rows for _ in range(2))
    assert first != second


@pytest.fixture
def reader(engine, database_url):
    """An engine of the reader, on an empty database."""
    for _ in range(2):
        with transaction(engine) as connection:
            let_reader_read(connection)
    found = make_engine(engine.url.set(username=READER))
    yield found
    found.dispose()
    with engine.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {READER}"))
        connection.execute(text(f"DROP ROLE {READER}"))


def test_the_reader_reads_and_cannot_become_somebody_else(engine, reader):
    assert (is_superuser(engine), is_superuser(reader)) == (True, False)
    assert read_only_rows(reader, "SELECT count(*) FROM run").rows == [(0,)]
    ways = (
        "SELECT set_config('role', 'none', true), query_to_xml("
        "'SELECT pg_read_file(''/etc/passwd'')', true, false, '')",
        "SELECT set_config('session_authorization', 'neurogloss', true)",
        "SELECT pg_read_file('/etc/passwd')",
    )
    for query in ways:
        with pytest.raises(InputError, match="permission denied"):
            read_only_rows(reader, query)
