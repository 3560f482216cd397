"""Servers of datasets that do not answer, from the first or after a while."""

import socket

import pytest

from neurogloss.errors import InputError
from orchestrator.datasets.imports import source
from orchestrator.datasets.imports.source import open_source
from tests.support.raw_server import head, raw_server


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(source, "LONGEST_WAIT_S", 0.01)


def test_one_that_never_answered_is_soon_given_up_and_each_wait_is_told(caplog):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(InputError, match=f"in {source.FIRST_ATTEMPTS} attempts"):
        open_source(f"http://127.0.0.1:{port}", 1)
    told = [record for record in caplog.records if record.getMessage() == "source asked again"]
    assert len(told) == source.FIRST_ATTEMPTS - 1


def test_one_that_answered_is_waited_for():
    with raw_server(lambda send: send(head(status=404))) as url:
        opened = open_source(url, 1)
    with pytest.raises(InputError, match=f"in {source.ATTEMPTS} attempts"):
        opened.read("records.json")
