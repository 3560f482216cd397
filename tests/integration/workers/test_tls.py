"""Postgres and Redis over a network: only servers that our authority vouches for are spoken to."""

import asyncio
import os
import shutil
import signal
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from redis import Redis
from redis import asyncio as redis_asyncio
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from neurogloss.config.settings import Settings
from orchestrator.cli.main import main
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.databases import connected
from tests.support.paid_run import KEY, NEURONS, Run, Workers
from tests.support.tls_front import UNNAMED, make_certificates, tls_front
from worker.app import app

# Certificates are made by the script of deploy/tls, as people make them: it calls openssl.
pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="certificates need openssl")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """The folders of two authorities: `ours`, and one that nobody knows."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("ours", "strange")}
    for folder in folders.values():
        make_certificates(folder, "10.9.8.7")
    return folders


@pytest.fixture
def addresses(services, database_url, certificates):
    """Return a function that gives both URLs, by the authority and the host that they name."""
    database = make_url(database_url)
    postgres = Path(str(database.query["host"]), f".s.PGSQL.{database.query.get('port', 5432)}")
    redis = Path(unquote(urlsplit(services.redis_url).path))
    with (
        tls_front(certificates["ours"], postgres, is_postgres=True) as postgres_port,
        tls_front(certificates["ours"], redis) as redis_port,
    ):

        def addresses(authority="ours", host="localhost"):
            ca = str(certificates[authority] / "ca.crt")
            url = database.set(host=host, port=postgres_port, query={})
            url = url.update_query_dict({"sslmode": "verify-full", "sslrootcert": ca})
            return {
                "DATABASE_URL": url.render_as_string(hide_password=False),
                "REDIS_URL": f"rediss://{host}:{redis_port}/0?ssl_ca_certs={ca}",
            }

        yield addresses


def ping_as_celery(url):
    with app.connection_for_write(url=url) as broker:
        broker.ensure_connection(max_retries=1, errback=None, timeout=2)


def ping_as_limits_do(url):
    async def ping():
        async with redis_asyncio.Redis.from_url(url) as redis:
            await redis.ping()

    asyncio.run(ping())


def ping_as_notes_do(url):
    with Redis.from_url(url) as redis:
        redis.ping()


PINGS = [ping_as_celery, ping_as_limits_do, ping_as_notes_do]


@pytest.mark.parametrize("ping", PINGS)
def test_redis_is_reached_if_our_authority_vouches_for_it(addresses, ping):
    ping(Settings.from_env(addresses()).redis_url)


@pytest.mark.parametrize("ping", PINGS)
@pytest.mark.parametrize("wrong", [{"authority": "strange"}, {"host": UNNAMED}])
def test_a_redis_that_another_authority_vouches_for_or_has_another_name_is_refused(
    addresses, ping, wrong
):
    url = Settings.from_env(addresses(**wrong)).redis_url
    with pytest.raises(Exception, match="certificate verify failed"):
        ping(url)


@pytest.mark.parametrize("ping", PINGS)
def test_without_an_authority_a_certificate_of_our_own_is_not_taken(addresses, ping):
    urls = addresses()
    urls["REDIS_URL"] = urls["REDIS_URL"].partition("?")[0]
    with pytest.raises(Exception, match="certificate verify failed"):
        ping(Settings.from_env(urls).redis_url)


@pytest.mark.parametrize("wrong", [{"authority": "strange"}, {"host": UNNAMED}])
def test_a_postgres_that_cannot_prove_its_name_is_refused(addresses, wrong):
    url = Settings.from_env(addresses(**wrong)).database_url
    with connected(url) as engine, pytest.raises(OperationalError, match="certificate"):
        engine.connect()


def test_doctor_says_what_is_wrong_with_a_certificate(addresses, monkeypatch, capsys):
    for name, value in (addresses() | {"REDIS_URL": addresses("strange")["REDIS_URL"]}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main(["doctor"])
    assert "certificate verify failed" in capsys.readouterr().err


def test_a_run_is_done_with_both_services_behind_tls(addresses, tmp_path, monkeypatch):
    monkeypatch.setenv("PAID_KEY", KEY)
    urls = addresses()
    settings = Settings.from_env(urls)
    monkeypatch.setattr(app.conf, "broker_url", settings.redis_url)
    workers = Workers(urls["DATABASE_URL"], urls["REDIS_URL"], tmp_path)
    try:
        with (
            connected(settings.database_url) as engine,
            RehearsalServer(RehearsalOptions(api_key=KEY)) as server,
        ):
            run = Run(engine, server)
            workers.start("one")
            assert run.follow() == "done"
            assert run.scored() == NEURONS
    finally:
        for process in workers.processes.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
