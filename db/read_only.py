"""One query of a person, which can change nothing."""

from typing import Any

from sqlalchemy import Engine, text

from db.roles import PREFIX

READER = f"{PREFIX}reader"
# The role is the whole server's; the tables of this database may not be open to it.
_MAY_BE_READER = text("""
    SELECT coalesce(bool_and(pg_has_role(rolname, 'MEMBER')
                             AND has_table_privilege(rolname, to_regclass('run'), 'SELECT')), false)
    FROM pg_roles WHERE rolname = :reader HAVING count(*) = 1
""")
# The driver sends text that the server may split into several statements; one of them could end
# the transaction and begin another that writes. A cursor takes a single statement, which returns
# rows, and the query reaches it as a value.
_SET_QUERY = text("SELECT set_config('neurogloss.query', :query, true)")
_OPEN = """
DO $$
DECLARE reading refcursor := 'reading';
BEGIN
    OPEN reading NO SCROLL FOR EXECUTE current_setting('neurogloss.query');
END
$$
"""


def read_only_rows(engine: Engine, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the columns and the rows of one query, as the reader where that role is set up.

    Raises:
        DBAPIError: The query is wrong, would change something, or is not a single one.
    """
    with engine.connect() as connection:
        # Not to be undone later: the server allows it only before the first query.
        connection.execute(text("SET TRANSACTION READ ONLY"))
        if connection.scalar(_MAY_BE_READER, {"reader": READER}):
            connection.execute(text(f"SET LOCAL ROLE {READER}"))
        connection.execute(_SET_QUERY, {"query": query})
        connection.exec_driver_sql(_OPEN)
        result = connection.exec_driver_sql("FETCH ALL FROM reading")
        return list(result.keys()), [tuple(row) for row in result]
