import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kombu import Connection
from redis import Redis
from sqlalchemy import NullPool, create_engine, text

from orchestrator.local.account import command_as, make_private_folder, server_account
from orchestrator.local.binaries import bundled_binary
from orchestrator.local.errors import ServiceError
from orchestrator.local.services import (
    TEMPORARY,
    services_running,
    socket_folder,
    start_services,
    stop_services,
)

START = (
    "import sys; from pathlib import Path; from orchestrator.local.services import start_services;"
    "start_services(Path(sys.argv[1]))"
)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A home folder with data, which takes a second to make; its services may run or not."""
    home = tmp_path_factory.mktemp("started") / "home"
    start_services(home)
    yield home
    stop_services(home)


@pytest.fixture
def home(tmp_path):
    """A home folder that is yet to be made."""
    yield tmp_path / "home"
    stop_services(tmp_path / "home")


def query(urls, statement):
    engine = create_engine(urls.database_url, poolclass=NullPool)
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        return result.scalar() if result.returns_rows else None


def redis_client(urls):
    return Redis.from_url(urls.redis_client_url, decode_responses=True)


def server_identities(urls):
    with redis_client(urls) as client:
        run_id = client.info("server")["run_id"]
    return query(urls, "SELECT pg_postmaster_start_time()"), run_id


def server_pid(home, service):
    return int((home / service / "server.pid").read_text())


def start_command(home):
    return subprocess.Popen([sys.executable, "-c", START, str(home)], start_new_session=True)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        pytest.param("listen_addresses", "", id="no TCP"),
        pytest.param("max_connections", "200", id="connections for many workers"),
        pytest.param("fsync", "on", id="fsync"),
        pytest.param("synchronous_commit", "on", id="what is committed is on disk"),
        pytest.param("shared_buffers", "256MB", id="memory"),
        pytest.param("server_encoding", "UTF8", id="tokens of any script"),
    ],
)
def test_postgres_runs_with_the_settings_it_should_have(started, setting, value):
    assert query(start_services(started), f"SHOW {setting}") == value


def test_text_sorts_and_folds_the_same_on_every_machine(started):
    urls = start_services(started)
    assert query(urls, "SELECT lower('ÄÉ')") == "äé"
    assert query(
        urls, "SELECT string_agg(x, '' ORDER BY x) FROM unnest('{b,B,a,A}'::text[]) x"
    ) == ("ABab")


def test_redis_keeps_every_message_and_listens_on_its_socket_only(started):
    with redis_client(start_services(started)) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("port") == {"port": "0"}


def test_celery_reaches_redis_by_its_url(started):
    with Connection(start_services(started).redis_url) as connection:
        queue = connection.SimpleQueue("letters")
        queue.put({"shard": 7})
        assert queue.get(timeout=5).payload == {"shard": 7}
        queue.close()


def test_a_second_start_reuses_what_runs(started):
    before = start_services(started)
    identities = server_identities(before)
    assert start_services(started) == before
    assert server_identities(before) == identities


def test_variables_of_other_postgres_clients_do_not_lead_astray(started, monkeypatch):
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGHOST", "192.0.2.1")
    assert query(start_services(started), "SELECT current_database()") == "neurogloss"


def test_services_do_not_run_as_root_and_let_nobody_else_in(started):
    for folder in (started / "postgres" / "data", started / "redis", socket_folder(started)):
        assert folder.stat().st_uid != 0
        assert folder.stat().st_mode & 0o077 == 0


def test_services_outlive_the_command_and_the_interrupt_of_its_terminal(started):
    stop_services(started)
    command = start_command(started)
    assert command.wait(timeout=60) == 0
    with pytest.raises(ProcessLookupError):  # the group that a terminal would interrupt is empty
        os.killpg(command.pid, signal.SIGINT)
    assert services_running(started) == {"postgres": True, "redis": True}


def test_two_commands_that_start_at_once_share_one_server_of_each(home):
    commands = [start_command(home) for _ in range(2)]
    assert [command.wait(timeout=60) for command in commands] == [0, 0]
    log = (home / "postgres" / "server.log").read_text()
    assert log.count("ready to accept connections") == 1
    assert (home / "redis" / "server.log").read_text().count("just started") == 1
    assert query(start_services(home), "SELECT 1") == 1


def test_servers_killed_outright_start_again_with_their_data(started):
    urls = start_services(started)
    query(urls, "CREATE TABLE kept AS SELECT 42 AS answer")
    with redis_client(urls) as client:
        client.set("kept", "42")
    for service in ("postgres", "redis"):
        os.kill(server_pid(started, service), signal.SIGKILL)
    assert start_services(started) == urls
    assert query(urls, "SELECT answer FROM kept") == 42
    with redis_client(urls) as client:
        assert client.get("kept") == "42"


def test_a_stale_mark_that_names_a_living_process_does_not_hinder_the_start(started):
    start_services(started)
    stop_services(started)
    mark = started / "postgres" / "data" / "postmaster.pid"
    mark.write_text(f"{os.getppid()}\n{mark.parent}\n1\n5432\n\n\n\n")
    assert query(start_services(started), "SELECT 1") == 1


def test_stop_names_what_it_stopped_and_leaves_nothing_running(started):
    start_services(started)
    assert stop_services(started) == ["redis", "postgres"]
    assert services_running(started) == {"postgres": False, "redis": False}
    assert not socket_folder(started).exists()
    assert stop_services(started) == []


def test_to_ask_or_stop_where_nothing_ever_ran_makes_nothing(home):
    assert services_running(home) == {"postgres": False, "redis": False}
    assert stop_services(home) == []
    assert not home.exists()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("x" * 150, id="too long for a socket"),
        pytest.param('it\'s 5 %, "$HOME" `é` #?&', id="characters that shells and URLs mind"),
    ],
)
def test_any_folder_name_will_do(tmp_path, name):
    home = tmp_path / name
    try:
        urls = start_services(home)
        assert query(urls, "SELECT 1") == 1
        with redis_client(urls) as client, Connection(urls.redis_url) as connection:
            assert client.ping()
            assert connection.connect()
    finally:
        assert stop_services(home) == ["redis", "postgres"]
    assert not socket_folder(home).exists()


def test_sockets_of_a_long_path_are_in_a_folder_of_its_own():
    first, second = (Path("/", "x" * 150, name) for name in ("first", "second"))
    assert socket_folder(first).parent == TEMPORARY
    assert socket_folder(first) == socket_folder(first) != socket_folder(second)


def test_a_server_that_does_not_start_says_why_and_where_to_look(home):
    home.mkdir()
    for folder in (home / "postgres", home / "postgres" / "data"):
        make_private_folder(folder, server_account(home))
    (home / "postgres" / "data" / "PG_VERSION").write_text("12\n")
    with pytest.raises(ServiceError, match="Postgres did not start") as caught:
        start_services(home)
    assert str(home / "postgres" / "server.log") in str(caught.value)
    assert "postgresql.conf" in str(caught.value)
    assert services_running(home) == {"postgres": False, "redis": False}


def test_an_interrupted_first_start_is_made_good_by_the_next(home):
    home.mkdir()
    make_private_folder(home / "postgres", server_account(home))
    (home / "postgres" / "unfinished-0" / "base").mkdir(parents=True)
    assert query(start_services(home), "SELECT 1") == 1
    assert list((home / "postgres").glob("unfinished-*")) == []


def test_a_home_that_is_a_file_is_refused_by_name(tmp_path):
    file = tmp_path / "home"
    file.write_text("")
    with pytest.raises(ServiceError, match=r"home cannot be used: .*File exists.*NEUROGLOSS_HOME"):
        start_services(file)


def test_a_folder_open_to_others_is_not_taken_for_sockets(tmp_path):
    folder = tmp_path / "sockets"
    folder.mkdir(mode=0o755)
    with pytest.raises(ServiceError, match="drwxr-xr-x"):
        make_private_folder(folder, server_account(tmp_path))


def test_without_the_wheels_the_message_says_what_to_install_or_set():
    with pytest.raises(ServiceError, match=r"neurogloss\[embedded\].*DATABASE_URL and REDIS_URL"):
        bundled_binary("no_such_wheel", "bin/postgres")


def test_the_account_of_the_servers_gets_into_folders_that_only_their_owner_can_enter(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "program").write_text("")
    look = "import os, sys; sys.exit(0 if os.access(sys.argv[1], os.R_OK) else 1)"
    command = [sys.executable, "-c", look, str(closed / "program")]
    switched = command_as(server_account(tmp_path), command, [closed / "program"])
    assert subprocess.run(switched, cwd="/", check=False).returncode == 0
