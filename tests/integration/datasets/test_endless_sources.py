"""Servers of datasets whose answers have no end, or become very large."""

import pytest

from neurogloss.errors import InputError
from orchestrator.datasets.imports import source
from orchestrator.datasets.imports.source import open_source
from tests.support.raw_server import (
    bomb,
    dripped_body,
    dripped_head,
    endless_body,
    nested_bomb,
    raw_server,
    unknown_compression,
)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(dripped_body, "not complete after 1 s, in 2 attempts", id="dripped body"),
        pytest.param(dripped_head, "not complete after 1 s, in 2 attempts", id="dripped head"),
        pytest.param(endless_body, "more than 1,048,576 bytes", id="endless body"),
        pytest.param(bomb, "more than 1,048,576 bytes", id="bomb"),
        pytest.param(nested_bomb, "compressed by 'gzip, gzip, gzip'", id="nested bomb"),
        pytest.param(unknown_compression, "compressed by 'br'", id="unknown compression"),
    ],
)
def test_an_answer_without_an_end_is_refused(answer, message, monkeypatch):
    for name, value in {
        "ATTEMPTS": 2,
        "LONGEST_WAIT_S": 0.1,
        "CHECKSUMS_S": 1.0,
        "CHECKSUMS_BYTES": 1 << 20,
    }.items():
        monkeypatch.setattr(source, name, value)
    with raw_server(answer) as url, pytest.raises(InputError, match=message):
        open_source(url, 1)
