"""Explanations, tokens and messages of servers that want to act on a terminal."""

import logging
import re
from contextlib import suppress

import pytest
from sqlalchemy import text

from db import results, runs
from db.results import ExplanationRow
from db.session import transaction
from orchestrator.cli.follow import outcome
from orchestrator.cli.logs import FORMATS
from orchestrator.cli.main import main
from orchestrator.cli.terminal.plain import plain, plain_lines
from orchestrator.cli.terminal.probe_table import probe_table

ESCAPES = "\x1b[2J\x1b]0;title\x07\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\\x9b31m"
BIDI = "\u202e\u2066\u200f\u061c"
INVISIBLE = "\u200b\ufeff\u00ad\u2028\u2029\x85"
CONTROLS = "\x00\x07\x08\x0b\x0c\r\x7f"
MARKUP = "[bold red]loud[/bold red][link=http://evil]x[/link] :smile: [/]"
HOSTILE = f"a{ESCAPES}b{BIDI}c{INVISIBLE}d{CONTROLS}e\nf\tg{MARKUP}"
FORBIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


def is_harmless(output):
    return not FORBIDDEN.search(output)


def test_plain_text_is_one_line_of_printable_characters_and_tells_what_it_hides():
    assert is_harmless(plain(HOSTILE))
    assert "\n" not in plain(HOSTILE)
    assert "\t" not in plain(HOSTILE)
    assert plain("\x1b[1m\u202e") == r"\x1b[1m\u202e"
    assert plain("Ω 🦀 naïve [bold]") == "Ω 🦀 naïve [bold]"
    assert plain_lines("a\nb\x1b") == "a\nb\\x1b"


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_logged_of_a_server_is_harmless(name):
    record = logging.LogRecord("w", logging.WARNING, "f", 1, "server: %s", (HOSTILE,), None)
    assert is_harmless(FORMATS[name]().format(record))


@pytest.fixture
def hostile(whole):
    """The whole run, in which everything that others wrote is hostile."""
    stored = HOSTILE.replace("\0", "\ufffd")
    with whole.begin() as connection:
        found = connection.execute(text("SELECT run_id, layer, neuron FROM explanation LIMIT 1"))
        run_id, layer, neuron = found.one()
        connection.execute(text("UPDATE explanation SET text = :t"), {"t": stored})
        connection.execute(text("UPDATE token SET text = :t"), {"t": stored})
        connection.execute(text("UPDATE failure SET message = :t"), {"t": stored})
        connection.execute(text("UPDATE worker SET host = :t"), {"t": stored})
        pause = "UPDATE run SET state = 'paused', pause_cause = 'credit', pause_reason = :t"
        connection.execute(text(pause), {"t": stored})
        damaged = "UPDATE score SET undefined_reason = :t WHERE neuron = :n AND layer = :l"
        connection.execute(text(damaged), {"t": stored, "n": neuron, "l": layer})
        # As answers come in, by the bulk path, which Postgres would refuse a NUL.
        connection.execute(text("DELETE FROM explanation WHERE neuron = :n"), {"n": neuron})
        row = ExplanationRow(run_id, layer, neuron, HOSTILE, "m")
        results.explanations.save(connection, [row])
    return whole, layer, neuron


@pytest.fixture
def shown(hostile, whole_url, services, monkeypatch, capsys):
    monkeypatch.setenv("DATABASE_URL", whole_url)
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    monkeypatch.setenv("COLUMNS", "2000")

    def shown(*arguments):
        with suppress(SystemExit):
            main(arguments)
        captured = capsys.readouterr()
        return captured.out + captured.err

    return shown


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("neuron", "{layer}", "{neuron}"),
        ("search", "loud"),
        ("sql", "SELECT * FROM neuron_summary"),
        ("sql", "SELECT text, text AS \"\x1b[2J\u202e[bold]\" FROM token LIMIT 3"),
        ("sql", "SELECT '\x1b[2J\u202e'::int"),
        ("verify",),
        ("neuron", "0", "99999"),
    ],
    ids=lambda command: " ".join(command)[:24],
)  # fmt: skip
def test_what_a_command_prints_is_harmless_and_keeps_the_words(hostile, shown, command, as_json):
    _, layer, neuron = hostile
    words = [word.format(layer=layer, neuron=neuron) for word in command]
    output = shown(*words, *(["--json"] if as_json else []))
    assert output.strip()
    assert is_harmless(output), repr(FORBIDDEN.search(output))
    if command[0] in ("search", "neuron") and "99999" not in command:
        assert "[bold red]loud[/bold red]" in output.replace("\n", "")


def test_why_a_run_ended_is_harmless(hostile):
    engine = hostile[0]
    with transaction(engine) as connection:
        run = runs.latest(connection)
    code, reason = outcome(engine, run.id, "whole")
    assert code == 4
    assert is_harmless(reason)
    assert "[bold red]loud" in reason


def test_what_the_doctor_says_of_an_endpoint_is_harmless(capsys):
    from rich.console import Console

    kinds = {"json": {"works": False, "detail": HOSTILE}}
    report = {"kinds": kinds, "auto": {"kind": None, "reason": HOSTILE}}
    Console(width=2000).print(probe_table("simulator", report))
    output = capsys.readouterr().out
    assert is_harmless(output)
    assert output.count("[bold red]loud[/bold red]") == 2


def test_an_error_that_quotes_a_server_is_harmless(shown, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('name = "x"\n"\\u001B[2J\\u202E" = 1\n')
    output = shown("run", str(path))
    assert "unknown key" in output
    assert is_harmless(output)
