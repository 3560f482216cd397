"""Mistakes of a person: each ends with exit code 2 or 4, one message, and no traceback."""

import errno
import io
import os
import sys
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from orchestrator.cli.main import main
from tests.support.databases import copied

CONFIG = """
name = "mistaken"
subject = { model = "demo" }
corpus = { source = "python-docs", excerpts = 300 }
neurons = { layers = [0], per_layer = 2 }
explainer = { kind = "lookup" }
simulator = { kind = "lookup" }
"""
ASKING = CONFIG.replace(
    'explainer = { kind = "lookup" }', 'explainer = { endpoint = "e", model = "m" }'
)


def endpoint(url, more=""):
    return f'{ASKING}[endpoints.e]\nbase_url = "{url}"\n{more}'


def with_(before, after):
    assert before in CONFIG
    return CONFIG.replace(before, after)


@pytest.fixture(scope="module")
def stored(services, whole_template):
    """The URL of a database with a finished run, of which every mistake leaves the same."""
    with copied(services, whole_template, "mistakes") as url:
        yield url


@pytest.fixture
def said(stored, services, monkeypatch, tmp_path, capsys):
    """Run a command in a folder of its own; return its exit code and what it says."""
    for name in ("folder", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "other").write_text("mine")
    (tmp_path / "file").write_text("text")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", stored)
    monkeypatch.setenv("REDIS_URL", services.redis_url)

    def said(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        return ended.value.code, captured.err.strip()

    return said


def check(code, message, expected, codes=(2,)):
    assert code in codes, message
    assert expected in message
    assert "Traceback" not in message
    # A wrong use says how the command is used; anything else is one message.
    assert message.count("neurogloss: ") == 1 or message.startswith("Usage: ")


def test_more_local_workers_than_postgres_has_connections_for_are_refused(
    said, stored, services, monkeypatch, tmp_path
):
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("NEUROGLOSS_HOME", str(tmp_path / "home"))
    urls = SimpleNamespace(database_url=stored, redis_url=services.redis_url)
    monkeypatch.setattr("orchestrator.environment.start_services", lambda home: urls)
    (tmp_path / "run.toml").write_text(CONFIG)
    code, message = said("run", "run.toml", "--local-workers", "gpu=8,api=8")
    check(code, message, "the embedded Postgres has connections for 15 workers: start fewer")


COMMAND_LINES = [
    ("rnu", "No such command 'rnu'"),
    ("run", "Missing argument 'CONFIG'"),
    ("run a b", "unexpected extra argument (b)"),
    ("status --wtach", "Did you mean '--watch'"),
    ("--verison", "Did you mean '--version'"),
    ("neuron a b", "'a' is not a valid integer"),
    ("neuron 0", "Missing argument 'NEURON'"),
    ("neuron 99 0", "has no neuron 0 in layer 99"),
    ("neuron 0 99999999999", "has no neuron 99999999999 in layer 0"),
    ("neuron -1 0", "No such option '-1'"),
    ("neuron 0 0 --records -5", "-5 is not in the range x>=0"),
    ("neuron 0 0 --run nowhere", "there is no run 'nowhere'"),
    ("neuron 0 0 --html folder", "File 'folder' is a directory"),
    ("status nowhere", "there is no run 'nowhere'"),
    ("status caf\udce9", r"the argument caf\xe9 is not UTF-8"),
    ("search weather --limit -1", "-1 is not in the range x>=0"),
    ("search caf\udce9", r"the argument caf\xe9 is not UTF-8"),
    ("sql selct", 'syntax error at or near "selct"'),
    ("sql commit", "it must be a single, read-only statement"),
    ("export --format csv --to new", "'csv' is not one of 'openai'"),
    ("export --format openai", "Missing option '--to'"),
    ("export --format openai --to file", "--to file"),
    ("export --format openai --to full", "the folder contains other files, e.g. other"),
    ("export --format openai --to new --processes 0", "0 is not in the range 1<=x<=64"),
    ("export nowhere --format parquet --to new", "there is no run 'nowhere'"),
    ("import nowhere --name new", "nowhere is not a folder"),
    ("import folder --name new", "has no dataset.json"),
    ("import folder --name new --layers 9-3", "'9-3' names no layer"),
    ("import ftp://x/ --name new", "not of the form https://server/folder"),
    ("report --output folder RUN", "--output folder: it is a folder"),
    ("report nowhere", "there is no run 'nowhere'"),
    ("compare RUN", "name a second run, or --paper"),
    ("compare RUN nowhere", "there is no run 'nowhere'"),
    ("compare RUN RUN --plot nowhere/x.png", "there is no folder nowhere"),
    ("compare RUN RUN --neurons folder", "--neurons folder: Is a directory"),
    ("set RUN budget", "'budget' is not of the form KEY=VALUE"),
    ("set RUN budget.usd=lots", "budget.usd = 'lots'"),
    ("set RUN nothing=1", "unknown key nothing"),
    ("set RUN name=other", "name: "),
    ("set nowhere budget.usd=1", "there is no run 'nowhere'"),
    ("retry RUN --class nonsense", "'nonsense' is not one of"),
    ("retry nowhere", "there is no run 'nowhere'"),
    ("pause RUN", "is done"),
    ("resume nowhere", "there is no run 'nowhere'"),
    ("cancel nowhere", "there is no run 'nowhere'"),
    ("delete nowhere --yes", "there is no run 'nowhere'"),
    ("verify nowhere", "there is no run 'nowhere'"),
    ("backup folder", "folder exists: a backup is never written over"),
    ("backup nowhere/file", "could not open output file"),
    ("restore nowhere", "File 'nowhere' does not exist"),
    ("text RUN --ablate x", "--ablate 'x' is no neuron such as 5:131"),
    ("load-neuronpedia folder", "NEURONPEDIA_DATABASE_URL is not set"),
    ("serve --port 99999", "99999 is not in the range 0<=x<=65535"),
    ("serve --host 0.0.0.0", "set a token in NEUROGLOSS_WEB_TOKEN"),
    ("worker cpu", "'cpu' is not one of 'gpu', 'api'"),
    ("rehearsal-server --port 99999", "99999 is not in the range 0<=x<=65535"),
    ("estimate nowhere.toml", "nowhere.toml: No such file"),
    ("doctor folder", "folder: Is a directory"),
    ("run nowhere.toml", "nowhere.toml: No such file"),
    ("run folder", "folder: Is a directory"),
    ("run /dev/zero", "which no configuration needs"),
    ("run /dev/null", "name is missing"),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("line", "expected"), COMMAND_LINES, ids=[x[0] for x in COMMAND_LINES])
def test_a_wrong_command_is_told_in_one_message(said, line, expected):
    arguments = ["whole" if word == "RUN" else word for word in line.split()]
    check(*said(*arguments), expected)


CONFIGURATIONS = {
    "not TOML": ("name = ", "is not TOML"),
    "JSON": ('{"name": "x"}', "is not TOML"),
    "no UTF-8": (b"\xff\xfe\x00", "is not TOML"),
    "nested": ("a = " + "[" * 20_000, "nested too deep"),
    "a table twice": (CONFIG + "[neurons]\n", "is not TOML"),
    "empty": ("", "name is missing"),
    "no name": (with_('name = "mistaken"\n', ""), "name is missing"),
    "a name with spaces": (with_('"mistaken"', '"my run"'), "name = 'my run'"),
    "an unknown section": (CONFIG + "[corpsu]\n", "unknown key corpsu"),
    "an unknown key": (with_("excerpts", "excerpt"), "unknown key corpus.excerpt"),
    "a text for a number": (with_("300", '"many"'), "corpus.excerpts = 'many'"),
    "a negative number": (with_("300", "-3"), "corpus.excerpts = -3"),
    "too few excerpts": (with_("300", "3"), "too few"),
    "a huge number": (with_("300", "9" * 400), "corpus.excerpts = 999"),
    "no such model": (with_('"demo"', '"/nowhere/model"'), "there is no such folder"),
    "an empty model": (with_('"demo"', '"folder"'), "there is no config.json in this folder"),
    "no such text": (with_('"python-docs"', '"texts/a.txt"'), "there is no such file"),
    "a folder without text": (with_('"python-docs"', '"folder"'), "contains no .txt"),
    "a layer that is not there": (with_("[0]", "[99]"), "the model has layers 0 to"),
    "no layer": (with_("[0]", "[]"), "neurons.layers = []"),
    "no endpoint": (ASKING, "add a table [endpoints.e]"),
    "no scheme": (endpoint("localhost:8000"), "endpoints.e.base_url = 'localhost:8000'"),
    "another scheme": (endpoint("ftp://x/v1"), "endpoints.e.base_url = 'ftp://x/v1'"),
    "half an address": (endpoint("http://[::1/v1"), "it is not a URL"),
    "a key in the address": (endpoint("http://u:p@x/v1"), "endpoints.e.base_url"),
    "no key": (endpoint("https://x/v1", 'api_key_env = "NO_SUCH_KEY"'), "NO_SUCH_KEY is not set"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("text", "expected"), CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_a_wrong_configuration_is_told_in_one_message(said, tmp_path, text, expected):
    path = tmp_path / "run.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    check(*said("run", str(path)), expected)


NOBODY = {
    "nobody listens": (endpoint("http://127.0.0.1:9/v1", "wait_s = 1"), "endpoint: e: "),
    "an unknown host": (endpoint("http://no-such-host.invalid/v1"), "endpoint: e: "),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("text", "expected"), NOBODY.values(), ids=NOBODY.keys())
def test_an_endpoint_that_is_not_there_is_told_in_one_message(said, tmp_path, text, expected):
    (tmp_path / "run.toml").write_text(text)
    check(*said("run", "run.toml"), expected, codes=(4,))


DEAD = "postgresql://u@127.0.0.1:1/x"
SERVICES = {
    "no address": ({"DATABASE_URL": "postgres"}, "DATABASE_URL is not an address such as"),
    "another database": ({"DATABASE_URL": "mysql://x/y"}, "DATABASE_URL is not an address"),
    "a port in words": ({"DATABASE_URL": "postgresql://u@h:port/x"}, "DATABASE_URL is not"),
    "no database": ({"DATABASE_URL": DEAD}, "the database cannot be reached"),
    "an unknown host": ({"DATABASE_URL": "postgresql://u@no.invalid/x"}, "cannot be reached"),
    "no Redis named": ({"REDIS_URL": ""}, "REDIS_URL is not set: set both"),
    "another broker": ({"REDIS_URL": "http://x"}, "REDIS_URL is not an address such as"),
    "a sentinel": ({"REDIS_URL": "sentinel://h:26379/0"}, "REDIS_URL is not an address"),
    "a lease in words": ({"NEUROGLOSS_LEASE_SECONDS": "soon"}, "NEUROGLOSS_LEASE_SECONDS = 'soon'"),
    "an unknown level": ({"NEUROGLOSS_LOG_LEVEL": "loud"}, "NEUROGLOSS_LOG_LEVEL"),
    "an unknown format": ({"NEUROGLOSS_LOG_FORMAT": "xml"}, "NEUROGLOSS_LOG_FORMAT"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("variables", "expected"), SERVICES.values(), ids=SERVICES.keys())
def test_wrong_services_are_told_in_one_message(said, monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    check(*said("status"), expected)


class FullDisk(io.StringIO):
    """A file on a disk without space."""

    def write(self, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_database_that_goes_away_during_a_command_is_told_in_one_message(said, monkeypatch):
    monkeypatch.setattr("orchestrator.cli.actions.runs.overviews", connection_lost)
    check(*said("runs"), "the database does not answer any more")


def connection_lost(connection, *_):
    connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


def test_a_full_disk_is_told_in_one_message(said, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", FullDisk())
        code, message = said("status")
    check(code, message, "No space left on device")


EXTRAS = {
    "parquet": ("pyarrow", 'source = "a.parquet"', "pip install 'neurogloss[parquet]'"),
    "hub": ("datasets", 'source = "owner/texts"', "pip install 'neurogloss[hub]'"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("module", "source", "expected"), EXTRAS.values(), ids=EXTRAS.keys())
def test_a_missing_extra_is_named(said, monkeypatch, tmp_path, module, source, expected):
    monkeypatch.setitem(sys.modules, module, None)  # as if it was not installed
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    (tmp_path / "run.toml").write_text(with_('source = "python-docs"', source))
    check(*said("run", "run.toml"), expected)


def test_a_missing_extra_of_a_command_is_named(said, monkeypatch):
    monkeypatch.setitem(sys.modules, "orchestrator.agent_server", None)
    check(*said("mcp"), "pip install 'neurogloss[mcp]' first")
