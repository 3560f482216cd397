"""Numbers in tables are never cut, however narrow the terminal is."""

import io

import pytest
from rich.console import Console

from orchestrator.cli.terminal.whole_table import PIPE_WIDTH, WholeTable, output_console

NUMBERS = ("3,379,200", "4,812,334,112", "1 day, 2:03:04")


def shown(width):
    table = WholeTable("run xl", texts=("stage",), numbers=("calls", "prompt", "time"))
    table.add_column("explanation")
    table.add_row("simulate (token_by_token)", *NUMBERS, "words " * 20)
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [30, 40, 60, 79, 80, 100, 160, 400])
def test_every_number_is_whole_at_every_width(width):
    text = shown(width)
    for number in NUMBERS:
        assert number in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_a_table_that_fits_is_a_table_and_another_is_lines():
    assert "┃" in shown(160)
    narrow = shown(40)
    assert "┃" not in narrow
    assert "prompt 4,812,334,112" in narrow


def test_a_pipe_is_wide_unless_somebody_says_otherwise(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert output_console().width == PIPE_WIDTH
    monkeypatch.setenv("COLUMNS", "80")
    assert output_console().width == 80
