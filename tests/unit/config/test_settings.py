"""Environment variables that a process cannot begin with, and what the message says."""

import pytest
from redis import Redis

from neurogloss.config.settings import Settings
from neurogloss.errors import InputError
from neurogloss.llm.outage_notes import redis_address

RIGHT = {
    "DATABASE_URL": "postgresql://someone:secret-1@127.0.0.1:5432/neurogloss",
    "REDIS_URL": "redis://:secret-2@127.0.0.1:6379/0",
}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "post gres:/secret-1"),
        ("DATABASE_URL", "secret-1@127.0.0.1/neurogloss"),
        ("DATABASE_URL", "mysql://someone:secret-1@127.0.0.1/neurogloss"),
        ("DATABASE_URL", "postgresql://someone:secret-1@127.0.0.1:port/neurogloss"),
        ("DATABASE_URL", "postgresql://someone:secret-1@127.0.0.1:70000/neurogloss"),
        ("DATABASE_URL", "postgresql://someone:secret-1@[::1/neurogloss"),
        ("REDIS_URL", "127.0.0.1:6379"),
        ("REDIS_URL", "http://secret-2@127.0.0.1:6379"),
    ],
)
def test_an_address_that_is_none_is_named_without_its_password(variable, value):
    with pytest.raises(InputError, match=f"^{variable} is not an address such as ") as caught:
        Settings.from_env(RIGHT | {variable: value})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["soon", "", "nan", "inf", "-3", "0", "1e9", "9" * 400])
def test_a_lease_is_a_number_of_seconds(value):
    with pytest.raises(InputError, match="NEUROGLOSS_LEASE_SECONDS = ") as caught:
        Settings.from_env(RIGHT | {"NEUROGLOSS_LEASE_SECONDS": value})
    assert len(str(caught.value)) < 200


def test_what_is_not_set_is_named():
    with pytest.raises(InputError, match="not set: DATABASE_URL, REDIS_URL"):
        Settings.from_env({"DATABASE_URL": ""})


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_way_to_write_postgres_is_read(scheme):
    url = RIGHT["DATABASE_URL"].replace("postgresql", scheme, 1)
    settings = Settings.from_env(RIGHT | {"DATABASE_URL": url})
    assert settings.database_url.startswith("postgresql+psycopg2://")
    assert settings.lease_s == 120.0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", "required"),
        ("?ssl_cert_reqs=CERT_REQUIRED", "required"),
        ("?ssl_cert_reqs=none", "none"),
    ],
)
def test_over_tls_redis_proves_who_it_is_unless_told_otherwise(written, meant):
    url = f"rediss://:secret-2@redis.example:6379/0{written}"
    assert Settings.from_env(RIGHT | {"REDIS_URL": url}).redis_url == (
        f"rediss://:secret-2@redis.example:6379/0?ssl_cert_reqs={meant}"
    )


@pytest.mark.parametrize(
    ("written", "for_celery", "for_the_client"),
    [
        ("redis://h:6379/3", "redis://h:6379/3", "redis://h:6379/3"),
        ("redis://h", "redis://h", "redis://h"),
        (" REDIS://:p%40s%2Fs@h?db=3 ", "redis://:p%40s%2Fs@h/3", "redis://:p%40s%2Fs@h/3"),
        ("redis+socket:///r.sock", "redis+socket:///r.sock", "unix:///r.sock"),
        (
            "redis+socket:///r.sock?db=3",
            "redis+socket:///r.sock?virtual_host=3",
            "unix:///r.sock?db=3",
        ),
        (
            "redis+socket:///r.sock?virtual_host=3",
            "redis+socket:///r.sock?virtual_host=3",
            "unix:///r.sock?db=3",
        ),
    ],
)
def test_celery_and_the_client_of_redis_use_one_database(written, for_celery, for_the_client):
    found = Settings.from_env(RIGHT | {"REDIS_URL": written}).redis_url
    assert (found, redis_address(found)) == (for_celery, for_the_client)
    client = Redis.from_url(redis_address(found)).connection_pool.connection_kwargs
    assert client.get("db", 0) == (3 if found.endswith("3") else 0)


@pytest.mark.parametrize(
    "url", ["redis://h/abc", "redis://h/-1", "redis://h/0/1", "redis://h/0?db=3", "redis://h?db=x"]
)
def test_a_database_of_redis_is_one_number(url):
    with pytest.raises(InputError, match="REDIS_URL: the database is one number"):
        Settings.from_env(RIGHT | {"REDIS_URL": url})


def test_certificates_that_cannot_be_read_are_named_without_the_password(tmp_path):
    url = f"rediss://:secret-2@redis.example:6379/0?ssl_ca_certs={tmp_path}/none.crt"
    with pytest.raises(InputError, match=r"REDIS_URL: ssl_ca_certs = '.*none.crt'") as caught:
        Settings.from_env(RIGHT | {"REDIS_URL": url})
    assert "secret" not in str(caught.value)
