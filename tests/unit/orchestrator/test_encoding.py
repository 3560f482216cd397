"""Commands print on terminals of any encoding."""

import io

import pytest
from rich.console import Console

from orchestrator.cli.main import main
from orchestrator.cli.terminal.encoding import escape_what_cannot_be_written
from orchestrator.cli.terminal.neuron import coloured


def old_terminal(monkeypatch, encoding):
    """Make standard output and error a terminal of an encoding; return what is written there."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("sys.stderr", stream)
    return stream.buffer


def test_a_message_is_printed_on_any_terminal(monkeypatch):
    written = old_terminal(monkeypatch, "latin-1")  # click takes ASCII for UTF-8
    with pytest.raises(SystemExit) as ended:
        main(["run", "☃.toml"])
    assert ended.value.code == 2
    assert rb"\u2603.toml" in written.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_tokens_are_printed_on_any_terminal(monkeypatch, encoding):
    written = old_terminal(monkeypatch, encoding)
    escape_what_cannot_be_written()
    Console().print(coloured(["a\n", "☃", "\ud83d"], [0.0, 1.0, 2.0], 2.0))
    assert written.getvalue() == rb"a\u23ce\u2603\ud83d" + b"\n"
