"""Configurations: what identifies a run, and what is stored of it, stay what they were."""

import tomllib

import pytest

from tests.golden.pinned import HERE
from tests.golden.project import DEMO, RunConfig, read_config

FILE = "configurations.json"
ROOT = HERE.parents[1]
WRITTEN = {
    "demo": DEMO,
    **{
        path.relative_to(ROOT).as_posix(): path
        for folder in (ROOT / "deploy" / "runs", HERE / "configurations")
        for path in sorted(folder.glob("*.toml"))
    },
}


def test_a_configuration_has_the_digest_that_it_had(pinned):
    configs = {name: read_config(path) for name, path in WRITTEN.items()}
    found = {
        name: {"digest": config.digest(), "stored": config.model_dump(mode="json")}
        for name, config in configs.items()
    }
    pinned.check(FILE, found)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_configuration_that_is_stored_has_the_digest_of_its_file(pinned, name):
    kept = pinned.read(FILE)[name]
    assert RunConfig.model_validate(kept["stored"]).digest() == kept["digest"]


def test_a_stored_configuration_that_lacks_what_came_later_has_the_digest_it_would_have(pinned):
    """Runs of older versions have no such tables; their defaults are part of what identifies."""
    kept = pinned.read(FILE)["demo"]
    later = ("ablation", "connections", "scorer")
    stored = {key: value for key, value in kept["stored"].items() if key not in later}
    assert RunConfig.model_validate(stored).digest() == kept["digest"]


def test_every_key_is_written_in_some_configuration():
    written = set()
    for path in (HERE / "configurations").glob("*.toml"):
        written |= set(_keys(tomllib.loads(path.read_text(encoding="utf-8"))))
    assert set(_keys_of(RunConfig)) <= written


def _keys(table, prefix=""):
    """Yield the keys of a table and of those in it; names of endpoints and models are `*`."""
    for key, value in table.items():
        name = "*" if prefix in ("endpoints.", "endpoints.*.prices.") else key
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def _keys_of(model):
    schema = model.model_json_schema()
    yield from _described(schema, schema["$defs"], "")


def _described(described, definitions, prefix):
    if "$ref" in described:
        described = definitions[described["$ref"].rpartition("/")[2]]
    if "properties" in described:
        for key, value in described["properties"].items():
            yield from _described(value, definitions, f"{prefix}{key}.")
    elif "patternProperties" in described:
        for value in described["patternProperties"].values():
            yield from _described(value, definitions, f"{prefix}*.")
    else:
        yield prefix.rstrip(".")
