"""Moving a filled database between schemas, and copying it by a backup."""

import re
import shutil
import subprocess

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from db import migrate, runs
from db.foreign import drop_own_objects, foreign_objects
from db.migrate import SchemaError
from db.session import transaction
from db.tables.schema import METADATA
from neurogloss.config.settings import Settings
from neurogloss.errors import InputError
from orchestrator.backup import back_up, restore_backup
from orchestrator.cli.main import COMMANDS, main
from orchestrator.environment import Environment
from orchestrator.verify.verify import find_differences
from tests.support.databases import connected

KEPT = {
    "explanation": "layer, neuron, text, call",
    "simulation": "layer, neuron, excerpt, expected_activations",
    "score": "layer, neuron, score, score_top, undefined_reason",
    "failure": "stage, layer, neuron, failure_class, message",
    "neuron_records": "layer, neuron, excerpts, activations, top_records",
    "call": "identity, text, usd, wasted_usd",
    "shard": "id, stage, state, done, failed",
    "excerpt": "corpus_id, excerpt, tokens",
}


def contents(engine):
    with engine.connect() as connection:
        return {
            table: connection.execute(
                text(f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM "  # noqa: S608
                     f"(SELECT {columns} FROM {table}) AS t")
            ).scalar_one()
            for table, columns in KEPT.items()
        }  # fmt: skip


def differences(engine):
    with transaction(engine) as connection:
        run = runs.latest(connection)
    return [str(found) for found in find_differences(engine, run.id, lambda *_: None)]


def versions():
    script = ScriptDirectory(str(migrate.ROOT / "migrations"))
    return [revision.revision for revision in script.walk_revisions()]


def test_a_filled_database_goes_down_step_by_step_and_up_again_with_its_results(whole, whole_url):
    before = contents(whole)
    for version in [*versions()[1:]]:
        migrate.downgrade(whole_url, version)
        whole.dispose()
        assert contents(whole) == before, version
    migrate.upgrade(whole_url)
    whole.dispose()
    assert contents(whole) == before
    assert differences(whole) == []
    with whole.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_cancelled_run_is_a_paused_one_below(whole, whole_url):
    with whole.begin() as connection:
        connection.execute(text("UPDATE run SET state = 'cancelled'"))
    migrate.downgrade(whole_url, "0007")
    with whole.connect() as connection:
        assert connection.scalar(text("SELECT state FROM run")) == "paused"


def test_down_to_nothing_and_up_again(whole, whole_url):
    migrate.downgrade(whole_url, "base")
    with whole.connect() as connection:
        tables = connection.scalars(
            text("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        ).all()
    assert [name for name in tables if not name.startswith("alembic")] == []
    migrate.upgrade(whole_url)
    with whole.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


NEEDS_NOTHING = {"migrate", "stop", "rehearsal-server", "doctor", "estimate", "demo"}
ARGUMENTS = {
    "run": ("deploy/runs/demo.toml",),
    "neuron": ("0", "0"),
    "search": ("x",),
    "text": ("x",),
    "sql": ("SELECT 1",),
    "cancel": ("whole",),
    "set": ("whole", "budget.usd=1"),
    "worker": ("api",),
    "backup": ("/nowhere/file",),
}


@pytest.fixture
def say(whole_url, services, monkeypatch, capsys):
    monkeypatch.setenv("DATABASE_URL", whole_url)
    monkeypatch.setenv("REDIS_URL", services.redis_url)

    def say(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return ended.value.code, capsys.readouterr().err

    return say


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("0006", r"is at schema 0006, this version of neurogloss needs \d+: run `neurogloss mig"),
        ("9999", r"is at schema 9999, this version of neurogloss needs \d+: it belongs to a later"),
    ],
)
def test_every_command_and_worker_refuses_another_schema(whole, say, version, message):
    with whole.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})
    refusing = set(COMMANDS) - NEEDS_NOTHING - {"restore", "import", "serve"}
    for command in sorted(refusing & {*ARGUMENTS, "status", "pause", "resume", "retry", "verify"}):
        code, output = say(command, *ARGUMENTS.get(command, ()))
        assert (code, bool(re.search(message, output))) == (2, True), (command, output)


def test_a_later_schema_is_not_migrated_either(whole, whole_url, say):
    with whole.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    code, output = say("migrate")
    assert (code, "it belongs to a later version" in output) == (2, True)
    assert "Traceback" not in output
    with pytest.raises(SchemaError, match="9999"):
        migrate.upgrade(whole_url)


@pytest.fixture
def at(services, tmp_path):
    """Returns the surroundings of a database, as embedded ones."""

    def at(url):
        settings = Settings(database_url=url, redis_url=services.redis_url)
        return Environment(settings, tmp_path)

    return at


@pytest.fixture
def other_url(services, whole_url):
    engine = create_engine(whole_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE other"))
    yield whole_url.replace("/whole?", "/other?")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE other WITH (FORCE)"))
    engine.dispose()


def test_a_backup_is_restored_with_everything_in_it(whole, whole_url, other_url, at, tmp_path):
    before = contents(whole)
    back_up(at(whole_url), tmp_path / "b")
    restore_backup(at(other_url), tmp_path / "b")
    other = create_engine(other_url)
    assert contents(other) == before
    assert differences(other) == []
    other.dispose()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b"]


def test_a_backup_of_an_older_schema_is_brought_up_to_date(
    whole, whole_url, other_url, at, tmp_path
):
    migrate.downgrade(whole_url, "0006")
    back_up(at(whole_url), tmp_path / "b")
    restore_backup(at(other_url), tmp_path / "b")
    other = create_engine(other_url)
    with other.connect() as connection:
        assert runs.schema_version(connection) == migrate.head()
    assert differences(other) == []
    other.dispose()


def test_what_would_be_lost_by_a_backup_or_restore_is_refused(whole, whole_url, at, tmp_path):
    before = contents(whole)
    back_up(at(whole_url), tmp_path / "b")
    with pytest.raises(InputError, match="exists: a backup is never written over"):
        back_up(at(whole_url), tmp_path / "b")
    with pytest.raises(InputError, match="has runs, 'whole' for one"):
        restore_backup(at(whole_url), tmp_path / "b")
    (tmp_path / "text").write_text("no backup")
    with pytest.raises(InputError, match=r"pg_restore failed: .*not appear to be a valid archive"):
        restore_backup(at(whole_url), tmp_path / "text")
    with pytest.raises(InputError, match="the database cannot be read"):
        back_up(at(whole_url.replace("/whole?", "/none?")), tmp_path / "none")
    assert not list(tmp_path.glob("none*"))
    assert contents(whole) == before


FOREIGN = {
    "schema shop": ("CREATE SCHEMA shop", "DROP SCHEMA shop"),
    "table public.invoice": ("CREATE TABLE invoice (n serial)", "DROP TABLE invoice"),
    "view public.ours": ("CREATE VIEW ours AS SELECT name FROM run", "DROP VIEW ours"),
    "materialized view public.m": (
        "CREATE MATERIALIZED VIEW m AS SELECT 1",
        "DROP MATERIALIZED VIEW m",
    ),
    "sequence public.s": ("CREATE SEQUENCE s", "DROP SEQUENCE s"),
    "function public.f()": (
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION f",
    ),
    "type public.mood": ("CREATE TYPE mood AS ENUM ('good')", "DROP TYPE mood"),
    "type public.pair": ("CREATE TYPE pair AS (a int, b int)", "DROP TYPE pair"),
    "collation public.c": ('CREATE COLLATION c FROM "C"', "DROP COLLATION c"),
}


@pytest.mark.parametrize("is_migrated", [True, False])
def test_restore_does_not_drop_what_belongs_to_others(
    whole_url, other_url, at, tmp_path, is_migrated
):
    back_up(at(whole_url), tmp_path / "b")
    if is_migrated:
        migrate.upgrade(other_url)
    with connected(other_url) as other:
        for name, (create, drop) in FOREIGN.items():
            create = create if is_migrated else create.replace("name FROM run", "1 AS name")
            with other.begin() as connection:
                connection.execute(text(create))
            with pytest.raises(InputError, match=re.escape(f"not neurogloss's: {name}")):
                restore_backup(at(other_url), tmp_path / "b")
            with other.begin() as connection:  # which fails if the object is gone
                connection.execute(text(drop))
        restore_backup(at(other_url), tmp_path / "b")
        assert differences(other) == []


def test_restore_takes_tables_with_our_names_for_ours_only_at_a_schema_of_ours(
    whole_url, other_url, at, tmp_path
):
    back_up(at(whole_url), tmp_path / "b")
    with connected(other_url) as other:
        for version in (None, "ae1027a6acf1"):
            with other.begin() as connection:
                if version is None:
                    connection.execute(text("CREATE TABLE run (distance int)"))
                    connection.execute(text("INSERT INTO run VALUES (42)"))
                else:
                    connection.execute(text("CREATE TABLE alembic_version (version_num text)"))
                    connection.execute(
                        text("INSERT INTO alembic_version VALUES (:v)"), {"v": version}
                    )
            with pytest.raises(InputError, match=r"not neurogloss's: .*table public\.run"):
                restore_backup(at(other_url), tmp_path / "b")
        with other.connect() as connection:
            assert connection.scalar(text("SELECT distance FROM run")) == 42


def test_nothing_that_the_migrations_make_is_foreign(whole_url, whole):
    for version in ("0012", "0008", "0004", "0001", "base"):
        migrate.downgrade(whole_url, version)
        with whole.begin() as connection:
            assert foreign_objects(connection) == []
            drop_own_objects(connection)
            left = connection.scalar(
                text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            )
            assert left == 0
            connection.rollback()


def test_pg_dump_of_the_machine_is_taken_where_the_services_are_not_embedded(
    whole_url, services, tmp_path
):
    """One that is older than the server says so itself, and nothing is left."""
    found = shutil.which("pg_dump")
    elsewhere = Environment(
        Settings(database_url=whole_url, redis_url=services.redis_url), home=None
    )
    if found is None:
        with pytest.raises(InputError, match="pg_dump is not on the PATH"):
            back_up(elsewhere, tmp_path / "b")
        return
    shown = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    if int(re.search(r"(\d+)\.", shown.stdout)[1]) < 18:
        with pytest.raises(InputError, match="server version mismatch"):
            back_up(elsewhere, tmp_path / "b")
        assert not list(tmp_path.iterdir())
    else:
        back_up(elsewhere, tmp_path / "b")
        assert (tmp_path / "b").stat().st_size > 0
