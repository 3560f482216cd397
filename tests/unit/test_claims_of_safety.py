"""The tests that pages name as evidence are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/.]+?)(?:::(\w+))?`")


def named_in(page):
    return NAMED.findall((ROOT / page).read_text())


@pytest.mark.parametrize("page", ["docs/security.md", "tests/README.md"])
def test_every_test_that_a_page_names_exists(page):
    found = named_in(page)
    assert len(found) > 20
    for path, name in found:
        assert (ROOT / path).exists(), path
        if name:
            assert f"\ndef {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


def test_each_fault_has_a_test_by_name():
    rows = re.findall(r"^\| (\d+) \|.*?\|(.*)\|$", (ROOT / "tests/README.md").read_text(), re.M)
    assert [int(number) for number, _ in rows] == list(range(1, 23))
    assert all(name for _, tests in rows for _, name in NAMED.findall(tests))


def test_every_claim_about_a_party_names_its_evidence():
    rows = re.findall(r"^\| .* \|$", (ROOT / "docs/security.md").read_text(), re.M)
    without = [row for row in rows[1:] if not NAMED.findall(row)]
    assert [row.split("|")[1].strip() for row in without] == ["the person who starts a run"]
