"""The page on troubleshooting names everything that a run can say, in the words of the code."""

import re
from itertools import chain
from pathlib import Path

import pytest

from neurogloss import errors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
PACKAGES = ("neurogloss", "db", "worker", "orchestrator")
SOURCES = {
    path: path.read_text(encoding="utf-8")
    for path in chain.from_iterable((ROOT / name).rglob("*.py") for name in PACKAGES)
}


def first_cells(heading):
    """Return the words in quotes in the first column of a table."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ")]
    return set(chain.from_iterable(re.findall(r"`([^`]+)`", cell) for cell in rows))


def subclasses(kind):
    for found in kind.__subclasses__():
        yield found
        yield from subclasses(found)


def in_sources(pattern):
    return set(chain.from_iterable(re.findall(pattern, text) for text in SOURCES.values()))


def test_every_failure_class_is_explained():
    of_errors = {kind.failure_class for kind in subclasses(errors.RowError)}
    assert of_errors <= set(errors.FAILURE_CLASSES)
    assert first_cells("Why a neuron failed") == set(errors.FAILURE_CLASSES)


def test_every_pause_cause_is_explained():
    causes = {kind.cause for kind in subclasses(errors.RunError)}
    assert first_cells("Why a run is paused") == causes | {"person"}


def test_every_reason_of_an_undefined_score_is_explained():
    reasons = in_sources(r'"((?:constant|no|not|nonfinite|negative)_[a-z_]+|dead)"')
    others = {"no_credit", "not_explained"}
    found = first_cells("Why a score is undefined")
    assert found <= reasons, "a reason that no code gives"
    assert {r for r in reasons - others if is_reason(r)} <= found


def is_reason(word):
    """Return whether a word is given as the reason of an undefined score, where it is written."""
    pattern = re.compile(rf'(?:unscored\(|reason = |return |, )"{word}"')
    return any(pattern.search(text) and "undefined_reason" in text for text in SOURCES.values())


@pytest.mark.parametrize("message", sorted(first_cells("Messages")))
def test_messages_are_in_the_words_of_the_code(message):
    joined = (re.sub(r'"\s*\n\s*f?"', "", text) for text in SOURCES.values())
    assert any(message in text for text in joined), message
