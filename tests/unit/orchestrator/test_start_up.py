"""What commands import before they do anything: scripts call some of them again and again."""

import inspect
import json
import subprocess
import sys

import pytest

from orchestrator.cli.actions import action
from orchestrator.cli.main import COMMANDS, cli

SLOW = ("alembic", "celery", "numpy", "redis", "rich", "torch", "transformers")  # to import
OURS = {"db", "neurogloss", "orchestrator", "rehearsal", "web", "worker"}
LIGHT = OURS | {"click", "click_didyoumean", "orjson"}  # orjson: replies of the rehearsal server
SHOW_IMPORTS = """
import json, sys
known = {name.partition(".")[0] for name in sys.modules} | sys.stdlib_module_names

from click.shell_completion import ShellComplete
from click.testing import CliRunner
from orchestrator.cli.main import COMMANDS, cli

def imported():
    found = {name.partition(".")[0] for name in sys.modules} - known
    known.update(found)
    return sorted(found)

shown = {}
for arguments in (["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)):
    assert CliRunner().invoke(cli, arguments).exit_code == 0, arguments
    shown[" ".join(arguments)] = imported()
completed = ShellComplete(cli, {}, "neurogloss", "_COMPLETE").get_completions([], "")
assert [item.value for item in completed] == list(COMMANDS)
shown["completion"] = imported()
print(json.dumps(shown))
"""


def run_code(code):
    """Run Python in a process of its own, and return what it prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_no_help_and_no_completion_imports_what_takes_long():
    shown = json.loads(run_code(SHOW_IMPORTS))
    assert {shown_by: set(new) - LIGHT for shown_by, new in shown.items() if set(new) - LIGHT} == {}


def test_status_as_json_imports_none_of_what_takes_long():
    code = """
import sys
from orchestrator.cli.actions import action
import orchestrator.cli.terminal.json_output
action("status")
print(*{name.partition(".")[0] for name in sys.modules}, *sys.modules)
"""
    imported = set(run_code(code).split())
    assert imported & {*SLOW, "sqlalchemy.orm"} == set()
    assert "sqlalchemy" in imported


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_is_called_with_is_what_its_action_takes(name):
    command = cli.get_command(None, name)
    takes = inspect.signature(action(command.callback.__name__))
    takes.bind(**{given.name: None for given in command.params if given.expose_value})
