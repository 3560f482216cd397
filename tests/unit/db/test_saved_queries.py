"""Saved queries: one source for the cookbook and the page, about a run of any name."""

from pathlib import Path

from db.saved_queries import SavedQuery, cookbook, saved_queries

PAGE = Path(__file__).parents[3] / "docs" / "sql.md"


def test_the_cookbook_is_written_from_them():
    assert PAGE.read_text(encoding="utf-8") == cookbook(), "write it again: make docs"


def test_there_are_those_that_people_want():
    assert len(saved_queries()) >= 20
    assert len({query.title for query in saved_queries()}) == len(saved_queries())


def test_names_of_runs_are_quoted():
    query = SavedQuery("", "", "SELECT 'mine', 'other'")
    assert query.about("it's", "b") == "SELECT 'it''s', 'b'"
    assert query.about("a") == "SELECT 'a', 'other'"
