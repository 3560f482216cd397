"""Every command of README.md, deploy/README.md and docs/ runs, or says in commands.toml why not."""

import json
import re
import shlex
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from orchestrator.cli.main import cli, main
from tests.support.compose_lines import check_compose_line
from tests.support.databases import connected
from tests.support.documents import ROOT, commands, inline_commands

PLACES = tomllib.loads(Path(__file__).with_name("commands.toml").read_text(encoding="utf-8"))
TRIED = {place["command"]: place for place in PLACES["tried"]}
PARSED = {place["command"]: place for place in PLACES["parsed"]}
NOT_RUN = {place["command"] for place in PLACES["not_run"] if "command" in place}
FOREIGN = {place["program"] for place in PLACES["not_run"] if "program" in place}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
ALL = sorted({quoted.text for quoted in commands()})


def arguments_of(command: str) -> list[str]:
    words = shlex.split(command)
    assert words[0] in ("neurogloss", ".venv/bin/neurogloss"), command
    return words[1:]


def parse(arguments: list[str]) -> None:
    """Read the arguments of a command as it would, without doing it."""
    with cli.make_context("neurogloss", ["runs"]) as context:
        name, command, rest = cli.resolve_command(context, list(arguments))
        command.make_context(name, list(rest), parent=context).close()


def is_ours(command: str) -> bool:
    return command.removeprefix(".venv/bin/").startswith("neurogloss ")


def is_not_run(command: str) -> bool:
    return command in NOT_RUN or shlex.split(command)[0] in FOREIGN


def name_of(command: str) -> str:
    return re.sub(r"[^\w.-]+", "_", command)[:150]


@pytest.mark.parametrize("command", [c for c in ALL if c in PARSED or is_not_run(c)], ids=name_of)
def test_a_command_is_read(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("monday.dump").touch()
    for part in filter(is_ours, command.split(" && ")):
        parse(arguments_of(part))


RUN = [c for c in ALL if c in TRIED or (is_ours(c) and c not in PARSED and not is_not_run(c))]


@pytest.mark.parametrize("command", RUN, ids=name_of)
def test_a_command_runs(command, folder, quoted_url, run_command):
    place = TRIED.get(command, {})
    set_up(place, quoted_url)
    line = place.get("as", command)
    line = line.replace("NEURON", some_neuron(quoted_url)).replace(
        "DATABASE_URL", f"'{for_psql(quoted_url)}'"
    )
    if "by" in place:
        code, output = ELSEWHERE[place["by"]](line, place)
    else:
        code, output = run_command(*arguments_of(line))
    assert code == place.get("code", 0), output[-2000:]
    assert place.get("shows", "") in output


def set_up(place, url):
    if "state" in place:
        with connected(url) as engine, engine.begin() as connection:
            statement = text("UPDATE run SET state = :state WHERE name = 'mine'")
            connection.execute(statement, {"state": place["state"]})


def some_neuron(url):
    with connected(url) as engine, engine.connect() as connection:
        return str(connection.scalar(text("SELECT min(neuron) FROM neuron WHERE layer = 0")))


def for_psql(url):
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def in_shell(line, place):
    done = subprocess.run(
        ["bash", "-ec", line], capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr


def as_server(line, place):
    """Start a server, wait until it shows its address, and end it."""
    with Path("output").open("w") as output:
        process = subprocess.Popen(shlex.split(line), stdout=output, stderr=output)
    deadline = time.monotonic() + 60
    while place["shows"] not in Path("output").read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.terminate()
    process.wait(timeout=30)
    return 0, Path("output").read_text()


ELSEWHERE = {"shell": in_shell, "server": as_server}


@pytest.mark.parametrize(
    "command", [c for c in ALL if c not in TRIED and not is_ours(c)], ids=name_of
)
def test_a_command_of_other_programs_fits(command):
    for part in [command] if command in NOT_RUN else command.split(" && "):
        check_foreign(part.strip())


def check_foreign(line):
    program = shlex.split(line)[0]
    if "docker compose" in line:
        inside = check_compose_line(line)
        if inside[:1] == ["neurogloss"]:
            parse(inside[1:])
    elif program == "make":
        assert line.split()[1] in TARGETS
    else:
        assert is_not_run(line), f"{line}: it has no place in commands.toml"


def test_every_place_is_that_of_a_command():
    places = {*TRIED, *PARSED, *NOT_RUN}
    assert sorted(places - set(ALL)) == [], "no page has these commands any more"


def test_commands_in_the_text_have_names_and_options_that_there_are():
    wrong = []
    for quoted in inline_commands():
        words = quoted.text.split()[1:]
        with cli.make_context("neurogloss", ["runs"]) as context:
            command = cli.get_command(context, words[0])
        if command is None:
            wrong += (
                [f"{quoted} {quoted.text}"]
                if words[0] not in ("COMMAND", "--help", "--version")
                else []
            )
            continue
        options = {name for param in command.params for name in param.opts} | {"-h", "--help"}
        used = {word.strip("[]").split("=")[0] for word in words if word.strip("[").startswith("-")}
        wrong += [f"{quoted} {quoted.text}"] if used - options else []
    assert wrong == []


JSON = [
    "neurogloss runs",
    "neurogloss status",
    "neurogloss neuron 0 NEURON",
    "neurogloss search the",
    "neurogloss sql 'SELECT NULL AS nothing'",
    "neurogloss compare mine other",
    "neurogloss estimate deploy/runs/gpt2-xl.toml",
    "neurogloss doctor",
    "neurogloss set mine budget.usd=300",
    "neurogloss retry mine",
    "neurogloss verify other",
    "neurogloss backup all.dump",
    "neurogloss export mine --format parquet --to written",
    "neurogloss report other --neurons 1",
    "neurogloss migrate",
    "neurogloss pause mine",
    "neurogloss cancel mine",
    "neurogloss delete mine --yes",
    "neurogloss stop",
]
"""In an order in which each of them can be done."""


def test_with_json_standard_output_is_one_value(folder, quoted_url, capsys):
    for line in JSON:
        if line.startswith("neurogloss pause"):
            set_up({"state": "running"}, quoted_url)
        line = line.replace("NEURON", some_neuron(quoted_url))
        try:
            main([*arguments_of(line), "--json"])
        except SystemExit as error:
            assert error.code == 0, line
        json.loads(capsys.readouterr().out)


def test_every_command_has_json_but_those_that_serve(folder):
    serving = {"mcp", "orchestrate", "rehearsal-server", "serve", "worker"}
    with cli.make_context("neurogloss", ["runs"]) as context:
        found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    without = {
        name
        for name, command in found.items()
        if not any("--json" in param.opts for param in command.params)
    }
    assert without == serving
