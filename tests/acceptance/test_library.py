"""The library alone: the example of docs/library.md, in a fresh process."""

import re
import subprocess
import sys
from pathlib import Path

from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer

PAGE = Path(__file__).parents[2] / "docs" / "library.md"
NOT_NEEDED = ("db", "worker", "orchestrator", "celery", "sqlalchemy", "psycopg2", "torch", "redis")
SHOW_MODULES = """
import sys
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""


def example(base_url: str) -> str:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert block.count("http://127.0.0.1:8100/v1") == 1
    return block.replace("http://127.0.0.1:8100/v1", base_url)


def test_the_example_explains_and_scores_a_neuron_without_a_database():
    with RehearsalServer(RehearsalOptions()) as server:
        program = example(server.base_url) + SHOW_MODULES
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
        )
        answered = server.stats()["answered"]
    assert done.returncode == 0, done.stderr
    result, modules = done.stdout.splitlines()
    assert re.fullmatch(r"\S.*: -?[01]\.\d{3}", result)
    assert answered == 2  # one explanation, one simulation
    assert "neurogloss" in modules
    assert not [name for name in NOT_NEEDED if f"'{name}'" in modules]
