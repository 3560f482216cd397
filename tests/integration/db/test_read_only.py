"""A query of a person: bounded, confined to reading, and explained where it fails."""

import tracemalloc
from contextlib import suppress

import pytest
from sqlalchemy import text

from db.bounded_values import CutText
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


LONG = 10_000_000
CUT = f"… (cut: {LONG:,} bytes in all)"


@pytest.mark.parametrize(
    ("value", "beginning"),
    [
        pytest.param(f"repeat('é', {LONG // 2})", "é" * 100, id="text"),
        pytest.param(
            f"decode(repeat('00ff', {LONG // 2}), 'hex')", r"\x" + "00ff" * 25, id="bytes"
        ),
        pytest.param(f"to_jsonb(repeat('x', {LONG - 2}))", '"' + "x" * 99, id="JSON"),
        pytest.param(f"ARRAY[repeat('x', {LONG - 2})]", "{" + "x" * 99, id="list"),
        pytest.param(f"ROW(repeat('x', {LONG - 2}))", "(" + "x" * 99, id="row"),
    ],
)
def test_the_server_cuts_a_value_that_is_too_long_and_its_neighbours_stay(engine, value, beginning):
    query = f"SELECT 7 AS n, {value} AS a, 'short' AS a, NULL, '\\x01'::bytea, '{{1}}'::int[]; "
    tracemalloc.start()
    found = read_only_rows(engine, query, longest=100)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.columns == ["n", "a", "a", "?column?", "bytea", "int4"]
    ((number, cut, *others),) = found.rows
    assert (number, others) == (7, ["short", None, b"\1", [1]])
    assert isinstance(cut, CutText) and cut == beginning + CUT
    assert most < LONG / 2


def test_rows_keep_their_order_and_a_query_may_have_an_end(engine):
    query = (
        "SELECT i, i || '' AS t, random()::text = random()::text FROM generate_series(9, 1, -1) i"
    )
    assert read_only_rows(engine, query).rows == [(i, str(i), False) for i in range(9, 0, -1)]
    assert read_only_rows(engine, "SELECT FROM generate_series(1, 3)").rows == [()] * 3
    for end in (";", " ; ;\n", "; -- why", " -- why", "; -- a\n -- b\n"):
        assert read_only_rows(engine, f"SELECT '; -- x'{end}").rows == [("; -- x",)]


@pytest.mark.parametrize("beginning", ["", " -- why\n"])
def test_what_is_no_part_of_another_query_is_answered_unless_a_line_is_too_long(engine, beginning):
    assert read_only_rows(engine, f"{beginning}SHOW work_mem").columns == ["work_mem"]
    assert "Result" in read_only_rows(engine, f"{beginning}explain SELECT 1;", 5).rows[0][0]
    long = f"{beginning}EXPLAIN VERBOSE SELECT repeat('x', 1000)"
    with pytest.raises(InputError, match="a line of it has more than 100 bytes"):
        read_only_rows(engine, long, longest=100)


def test_a_query_does_not_get_past_the_bound(engine):
    query = f"SELECT repeat('x', {LONG})"
    for way in (
        f"/* /* */ EXPLAIN */ {query}",
        f"{query}) AS q, ({query}",
        f"--\r{query}\n--EXPLAIN",
    ):
        with suppress(InputError):
            ((value, *_),) = read_only_rows(engine, way, longest=100).rows
            assert len(value) < 200


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
