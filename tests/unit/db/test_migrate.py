"""Which schema this code needs, read without Alembic."""

import pytest
from alembic.script import ScriptDirectory

from db import migrate


@pytest.fixture
def scripts():
    return ScriptDirectory(str(migrate.ROOT / "migrations"))


def test_the_head_is_that_of_alembic(scripts):
    assert migrate.head() == scripts.get_current_head()


def test_all_versions_of_alembic_are_known_and_no_others(scripts):
    versions = [script.revision for script in scripts.walk_revisions()]
    assert all(map(migrate.knows, versions))
    assert not migrate.knows("9999")


def test_a_later_schema_is_told_from_an_earlier_one():
    with pytest.raises(migrate.SchemaError, match="run `neurogloss migrate`"):
        migrate.check_version("0001")
    with pytest.raises(migrate.SchemaError, match="a later version"):
        migrate.check_version("9999")
