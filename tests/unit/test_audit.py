"""The audit fails for a known vulnerability and for nothing else, and says what it could not do."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / ".ci" / "audit.py"


@pytest.fixture(scope="module")
def audit():
    spec = importlib.util.spec_from_file_location("audit", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GOOD = {"name": "good", "version": "1", "vulns": []}
BAD = {"name": "bad", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        ([GOOD], 0, "no vulnerability is known of 1 packages"),
        ([GOOD, BAD], 1, "bad 2: CVE-1, fixed in 3"),
        ([GOOD, UNKNOWN], 0, "WARNING: dependencies were NOT audited: "),
        ([BAD, UNKNOWN], 1, "does not know 1 of 2 packages"),
    ],
)
def test_what_is_said_and_returned(audit, capsys, found, code, said):
    assert audit.report(found) == code
    captured = capsys.readouterr()
    assert said in captured.out + captured.err
    assert ("no vulnerability" in captured.out) == (found == [GOOD])
