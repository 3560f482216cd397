"""What is loaded of neurons, against the rows of plain SQL."""

from dataclasses import fields

import numpy as np
import pytest
from sqlalchemy import text

from db.neuron import NeuronPart, StoredNeuron, load_neuron, load_neurons
from db.rows import CorruptRowError
from tests.support.dataset_run import DEAD, NEURONS, TOKENS, make_run

TABLES = {  # of each part: its table, and the columns that come after the neuron in its order
    NeuronPart.RECORDS: ("neuron_records", ()),
    NeuronPart.EXPLANATION: ("explanation", ()),
    NeuronPart.SIMULATIONS: ("simulation", ("excerpt",)),
    NeuronPart.SCORE: ("score", ()),
    NeuronPart.FAILURES: ("failure", ("stage",)),
    NeuronPart.TOKEN_MEANS: ("token_means", ()),
    NeuronPart.RELATED_NEURONS: ("related_neurons", ("direction",)),
    NeuronPart.RELATED_TOKENS: ("related_tokens", ("direction",)),
    NeuronPart.BASELINES: ("baseline_score", ("baseline",)),
    NeuronPart.CALIBRATED: ("calibrated_score", ("calibration",)),
    NeuronPart.SCORERS: ("scorer_result", ("scorer",)),
    NeuronPart.ABLATION: ("ablation", ()),
    NeuronPart.CONTROL: ("control_score", ()),
    NeuronPart.CONTROL_SIMULATIONS: ("control_simulation", ("excerpt",)),
    NeuronPart.CANDIDATES: ("candidate", ("number",)),
    NeuronPart.CANDIDATE_SCORES: ("candidate_score", ("stage", "number")),
    NeuronPart.SENTENCES: ("sentence", ("number",)),
    NeuronPart.IMPORTED: ("imported_neuron", ()),
    NeuronPart.NOTES: ("neuron_note", ("id",)),
}
LISTS = {
    NeuronPart.CANDIDATES,
    NeuronPart.CANDIDATE_SCORES,
    NeuronPart.SENTENCES,
    NeuronPart.NOTES,
}
FILLED_IN = {"created_at", "failed_at", "id"}  # by the database, and read by nobody
FILL = (  # what the run of the data sets lacks; of several rows, the later ones come first
    """INSERT INTO failure SELECT run_id, stage, layer, neuron, 'refused', 'no', 2, 'r'
       FROM neuron_records, unnest(ARRAY['simulate', 'explain']) AS stage WHERE neuron = 3""",
    """INSERT INTO baseline_score (run_id, layer, neuron, baseline, score, rsquared)
       SELECT run_id, layer, neuron, name, 0.5 + neuron / 16.0, -0.25
       FROM neuron_records, unnest(ARRAY['weights', 'lookup', 'token_list']) AS name""",
    """INSERT INTO calibrated_score (run_id, layer, neuron, calibration, score, slope)
       SELECT run_id, layer, neuron, name, 0.25, neuron
       FROM neuron_records, unnest(ARRAY['percentile', 'linear']) AS name""",
    """INSERT INTO scorer_result
           (run_id, layer, neuron, scorer, score, n_positive, n_negative, call)
       SELECT run_id, layer, neuron, name, 0.75, neuron, 3, '\\x0102'
       FROM neuron_records, unnest(ARRAY['fuzzing', 'detection']) AS name""",
    """INSERT INTO ablation (run_id, layer, neuron, divergence_mean, undefined_reason)
       SELECT run_id, layer, neuron, neuron / 8.0, 'no_effect' FROM neuron_records""",
    """INSERT INTO control_score (run_id, layer, neuron, partner, explanation, score)
       SELECT run_id, layer, neuron, neuron + 1, 'of another', neuron / 32.0 FROM neuron_records""",
    """INSERT INTO control_simulation SELECT run_id, layer, neuron, n, '\\x003c0040', '\\x0a'
       FROM neuron_records, unnest(ARRAY[9, 4]) AS n""",
    """INSERT INTO candidate SELECT run_id, layer, neuron, n, 'draft ' || n, 'm', '\\x03'
       FROM neuron_records, unnest(ARRAY[2, 0, 1]) AS n""",
    """INSERT INTO candidate_score SELECT run_id, layer, neuron, stage, n, n / 4.0, NULL
       FROM neuron_records, unnest(ARRAY['revise', 'choose']) AS stage, unnest(ARRAY[1, 0]) AS n""",
    """INSERT INTO sentence SELECT run_id, layer, neuron, n, 'words', n = 0, true, NULL,
           CASE n WHEN 0 THEN '\\x0100000002000000'::bytea END,
           CASE n WHEN 0 THEN '\\x003c0040'::bytea END
       FROM neuron_records, unnest(ARRAY[1, 0]) AS n""",
    """INSERT INTO imported_neuron SELECT run_id, layer, neuron, 0.125, ARRAY[7, 5], 1
       FROM neuron_records WHERE neuron < 3""",
    """INSERT INTO neuron_note (run_id, layer, neuron, flag, text, author)
       SELECT run_id, layer, neuron, 'wrong', 'note ' || n, 'me'
       FROM neuron_records, unnest(ARRAY[1, 2]) AS n WHERE neuron < 3""",
)


@pytest.fixture
def run_id(engine):
    """A run that has something in every table, beside another run of the same neurons."""
    make_run(engine, "other")
    run_id = make_run(engine)
    with engine.begin() as connection:
        for statement in FILL:
            connection.execute(text(statement))
    return run_id


def load(engine, *arguments):
    with engine.begin() as connection:
        return load_neurons(connection, *arguments)


def by_sql(connection, run_id, layer, neuron, part):
    table, order = TABLES[part]
    query = text(
        f"SELECT * FROM {table} WHERE run_id = :run AND layer = :layer AND neuron = :neuron"  # noqa: S608
        f" ORDER BY {', '.join((*order, 'neuron'))}"
    )
    found = connection.execute(query, {"run": run_id, "layer": layer, "neuron": neuron})
    return [{name: plain(value) for name, value in row.items()} for row in found.mappings()]


def plain(value):
    """Return arrays and stored bytes as bytes, and all else as it is."""
    if isinstance(value, np.ndarray):
        return value.tobytes()
    return bytes(value) if isinstance(value, memoryview) else value


def rows_of(part, loaded):
    """Return the rows of a part in order, however it holds them."""
    if part in LISTS:
        return loaded
    _, order = TABLES[part]
    if order:
        assert [getattr(row, order[0]) for row in loaded.values()] == list(loaded)
        return list(loaded.values())
    return [] if loaded is None else [loaded]


def check_part(connection, stored, run_id, part):
    """Check a part of a neuron against plain SQL, and return how many rows it has."""
    expected = by_sql(connection, run_id, stored.layer, stored.neuron, part)
    rows = rows_of(part, getattr(stored, part.value))
    assert len(rows) == len(expected)
    for row, by_column in zip(rows, expected, strict=True):
        names = [field.name for field in fields(row)]
        assert by_column.keys() - set(names) <= FILLED_IN
        assert {name: plain(getattr(row, name)) for name in names} == {
            name: by_column[name] for name in names
        }
    return len(rows)


def test_every_part_is_what_plain_sql_gives(engine, run_id):
    assert TABLES.keys() == set(NeuronPart)
    counts = dict.fromkeys(NeuronPart, 0)
    for layer in (0, 1):
        for stored in load(engine, run_id, layer, range(NEURONS)):
            with engine.begin() as connection:
                for part in NeuronPart:
                    counts[part] += check_part(connection, stored, run_id, part)
    assert all(counts.values()), counts


def test_arrays_have_the_types_and_shapes_that_are_promised(engine, run_id):
    (stored,) = load(engine, run_id, 0, [0])
    shapes = {
        "activations": (stored.records.activations, np.float16, (16, TOKENS)),
        "tokens": (stored.token_means.tokens, np.int32, (21,)),
        "means": (stored.token_means.means, np.float32, (21,)),
        "counts": (stored.token_means.counts, np.int32, (21,)),
        "sentence": (stored.sentences[0].tokens, np.int32, (2,)),
        "observed": (stored.sentences[0].activations, np.float16, (2,)),
    }
    for simulation in stored.simulations.values():
        expected, distribution = simulation.expected_activations, simulation.distribution
        shapes["expected_activations", simulation.excerpt] = (expected, np.float16, (TOKENS,))
        shapes["distribution", simulation.excerpt] = (distribution, np.float16, (TOKENS, 11))
    for name, (array, dtype, shape) in shapes.items():
        assert (array.dtype, array.shape) == (dtype, shape), name
    assert stored.sentences[0].activations.tolist() == [1, 2]


@pytest.mark.parametrize(
    "parts",
    [
        [NeuronPart.SCORE],
        [NeuronPart.RECORDS, NeuronPart.SENTENCES],
        set(NeuronPart) - {NeuronPart.RECORDS},
        [],
    ],
)
def test_only_the_parts_that_are_asked_for_are_there(engine, run_id, parts):
    (stored,) = load(engine, run_id, 0, [0], parts)
    nothing = StoredNeuron(0, 0)
    with engine.begin() as connection:
        for part in NeuronPart:
            if part in parts:
                check_part(connection, stored, run_id, part)
            else:
                assert getattr(stored, part.value) == getattr(nothing, part.value)


def test_neurons_come_in_the_order_in_which_they_are_named(engine, run_id):
    found = load(engine, run_id, 1, [4, DEAD, 5])
    assert [(stored.layer, stored.neuron) for stored in found] == [(1, 4), (1, DEAD), (1, 5)]
    assert [stored.records.neuron for stored in found] == [4, DEAD, 5]
    assert [stored.score.undefined_reason for stored in found[1:2]] == ["dead"]
    assert load(engine, run_id, 1, []) == []


def test_a_neuron_that_is_not_there_is_empty(engine, run_id):
    assert load(engine, run_id, 0, [NEURONS, 99]) == [StoredNeuron(0, NEURONS), StoredNeuron(0, 99)]
    with engine.begin() as connection:
        assert load_neuron(connection, run_id, 9, 0) == StoredNeuron(9, 0)
        assert load_neuron(connection, run_id, 0, 0).records.neuron == 0


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("neuron_records", "activations"),
        ("simulation", "expected_activations"),
        ("simulation", "distribution"),
        ("token_means", "means"),
        ("sentence", "tokens"),
    ],
)
def test_bytes_that_are_no_array_are_named_with_their_neuron(engine, run_id, table, column):
    with engine.begin() as connection:
        damage = f"UPDATE {table} SET {column} = '\\x010203' WHERE layer = 1 AND neuron = 5"  # noqa: S608
        assert connection.execute(text(damage)).rowcount
    with pytest.raises(CorruptRowError) as raised:
        load(engine, run_id, 1, range(NEURONS))
    error = raised.value
    place = (error.table, error.column, error.layer, error.neuron)
    assert (place, error.n_bytes) == ((table, column, 1, 5), 3)
    assert f"{table}.{column} of layer 1 neuron 5 has 3 bytes" in str(error)
    assert len(load(engine, run_id, 1, range(5))) == 5
