"""Files that are not what they should be: a message and no run, or a whole run."""

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from db import imports, runs
from neurogloss.errors import InputError
from orchestrator.datasets.export import export
from orchestrator.datasets.imports.importer import ImportSelection, import_dataset
from orchestrator.datasets.imports.source import FolderSource

EXAMPLES = max(300, settings.default.max_examples)  # `make fuzz` takes 5,000
FILES = (
    "collated-activations/0/0.json",
    "explanations/0/0.jsonl",
    "related-neurons/weight-based/0/0.json",
    "related-tokens/activation-based/0/0.json",
    "related-tokens/weight-based/0/0.json",
    "dataset.json",
)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(min_value=2**62, max_value=2**2000),
        st.floats(),
        st.text(max_size=9),
        st.sampled_from(("0", "-1", "5_131", "_", "1_2_3", "NaN", "\0", "\ud800", [], {})),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture
def dataset(engine, run_id, tmp_path):
    """One neuron, and what its files say."""
    export(engine, run_id, "openai", tmp_path / "all", processes=1)
    root = tmp_path / "one"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "all" / name, root / name)
    return root, {name: (root / name).read_bytes() for name in FILES}


def paths_of(value, path=()):
    """Yield the path of every value in a JSON value."""
    yield path
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths_of(child, (*path, key))


@st.composite
def changed(draw, content):
    """Return a file in which something is wrong, or at least unusual."""
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(content)))
        return (
            content[:place]
            + draw(st.binary(max_size=9))
            + content[place + draw(st.integers(0, 9)) :]
        )
    value = json.loads(content)
    for _ in range(draw(st.integers(1, 3))):
        paths = [path for path in paths_of(value) if path]
        if not paths:
            break
        *way, last = draw(st.sampled_from(paths))
        parent = value
        for key in way:
            parent = parent[key]
        action = draw(st.sampled_from(("replace", "delete", "double")))
        if action == "replace":
            parent[last] = draw(values)
        elif action == "delete":
            del parent[last]
        elif isinstance(parent, list):
            parent.insert(last, parent[last])
    return json.dumps(value).encode("utf-8", "surrogatepass")


def test_a_hostile_dataset_gives_a_whole_run_or_a_message(engine, dataset):
    root, original = dataset
    outcomes = {"imported": 0, "refused": 0}

    @settings(
        max_examples=EXAMPLES,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        database=None,
    )
    @given(st.data())
    def hostile(data):
        name = data.draw(st.sampled_from(FILES))
        for other, content in original.items():
            (root / other).write_bytes(content)
        (root / name).write_bytes(data.draw(changed(original[name])))
        try:
            import_dataset(
                engine, FolderSource(root), ImportSelection("hostile", "gpt2"), concurrency=1
            )
        except InputError as error:
            outcomes["refused"] += 1
            assert str(error)
            assert seen(engine) == [0, 0]
        else:
            outcomes["imported"] += 1
            assert seen(engine) == [1, 3]
        drop(engine)

    hostile()
    assert sum(outcomes.values()) >= 0.9 * EXAMPLES
    assert min(outcomes.values()) > 0.04 * EXAMPLES


def seen(engine):
    with engine.begin() as connection:
        return [
            connection.scalar(text("SELECT count(*) FROM neuron_summary WHERE run = 'hostile'")),
            connection.scalar(text("SELECT count(*) FROM run_progress WHERE run = 'hostile'")),
        ]


def drop(engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE run SET state = 'importing' WHERE name = 'hostile'"))
        if found := runs.find(connection, "hostile"):
            imports.discard(connection, found.id)
