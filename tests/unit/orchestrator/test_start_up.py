"""What commands import before they do anything: scripts call some of them again and again."""

import subprocess
import sys

SLOW = ("alembic", "celery", "numpy", "redis", "rich", "torch", "transformers")  # to import


def test_status_as_json_imports_none_of_what_takes_long():
    code = """
import sys
from orchestrator.cli.main import cli
import orchestrator.cli.terminal.json_output
cli.get_command(None, "status")
print(*{name.partition(".")[0] for name in sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert set(done.stdout.split()) & set(SLOW) == set()
    assert "sqlalchemy" in done.stdout.split()
