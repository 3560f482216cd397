"""Export in OpenAI's format, and back again."""

import numpy as np
import pytest
from sqlalchemy import event, text

from db import results
from db.results import ExplanationRow
from db.session import snapshot
from neurogloss.errors import InputError
from orchestrator.datasets import exported
from orchestrator.datasets.export import export
from orchestrator.datasets.files import Folder
from orchestrator.datasets.openai.writer import write_layer
from tests.support.dataset_run import (
    CONSTANT,
    FAILED,
    LAYERS,
    NEURONS,
    UNEXPLAINED,
    make_run,
)
from tests.support.openai_dataset import export_openai, files_of, import_folder
from tests.support.openai_reader import load

KINDS = ("collated-activations", "explanations", "related-neurons", "related-tokens")


def test_an_export_that_is_imported_and_exported_again_is_the_same_bytes(
    engine, run_id, exported_once, tmp_path
):
    first = files_of(exported_once)
    again = export_openai(engine, import_folder(engine, exported_once), tmp_path / "second")
    assert again == first
    twice = export_openai(
        engine, import_folder(engine, tmp_path / "second", "twice"), tmp_path / "third"
    )
    assert twice == first


def test_an_independent_reader_loads_every_file(exported_once):
    found = files_of(exported_once)
    for path in found:
        if path.startswith(KINDS):
            value = load(exported_once / path)
            layer, neuron = path.rsplit(".", 1)[0].split("/")[-2:]
            if hasattr(value, "neuron_id"):
                named = value.neuron_id.layer_index, value.neuron_id.neuron_index
                assert named == (int(layer), int(neuron))
    n = LAYERS * NEURONS
    counts = {kind: sum(path.startswith(kind) for path in found) for kind in KINDS}
    assert counts == {
        "collated-activations": n,
        "explanations": n - LAYERS * 2,  # the dead and the unexplained
        "related-neurons": n,
        "related-tokens": 2 * n,
    }


def test_the_score_of_an_exported_file_is_the_stored_one(engine, run_id, exported_once):
    query = text("SELECT layer, neuron, score FROM score WHERE score IS NOT NULL")
    with engine.begin() as connection:
        stored = connection.execute(query).all()
    assert len(stored) == LAYERS * (NEURONS - 4)
    for layer, neuron, score in stored:
        found = load(exported_once / f"explanations/{layer}/{neuron}.jsonl")
        scored = found.scored_explanations[0].scored_simulation
        sequences = scored.scored_sequence_simulations
        true = np.concatenate([s.true_activations for s in sequences])
        expected = np.concatenate([s.simulation.expected_activations for s in sequences])
        read = [values.astype(np.float16).astype(np.float64) for values in (true, expected)]
        assert np.corrcoef(*read)[0, 1] == pytest.approx(score, rel=1e-7)
        assert scored.ev_correlation_score == score


def test_distributions_are_normalized_over_the_numbers(exported_once):
    found = load(exported_once / "explanations/0/0.jsonl").scored_explanations[0].scored_simulation
    for sequence in found.scored_sequence_simulations:
        simulation = sequence.simulation
        assert len(simulation.distribution_values) == len(simulation.tokens)
        for values, likely in zip(
            simulation.distribution_values, simulation.distribution_probabilities, strict=True
        ):
            assert set(values) <= set(range(11))
            assert sum(likely) == pytest.approx(1, abs=5e-3)


def test_what_is_not_defined_is_null(exported_once):
    assert load(exported_once / "collated-activations/0/0.json").skewness is None
    scored = [
        load(exported_once / f"explanations/0/{n}.jsonl").scored_explanations[0].scored_simulation
        for n in (FAILED, CONSTANT)
    ]
    assert [s.ev_correlation_score for s in scored] == [None, None]
    assert [len(s.scored_sequence_simulations) for s in scored] == [2, 4]
    assert load(exported_once / "related-neurons/weight-based/0/0.json").c_fc is None
    assert b"NaN" not in b"".join(files_of(exported_once).values())


def test_no_secret_leaves_with_a_dataset(engine, run_id, tmp_path):
    for name in ("openai", "neuronpedia", "parquet"):
        export(engine, run_id, name, tmp_path / name, processes=1)
        everything = b"".join(files_of(tmp_path / name).values())
        assert b"secret.example" not in everything
        assert b"SECRET_KEY" not in everything


def test_an_interrupted_export_goes_on(engine, run_id, tmp_path, exported_once):
    export_openai(engine, run_id, tmp_path / "cut")
    cut = tmp_path / "cut"
    lines = (cut / "SHA256SUMS").read_text().splitlines(keepends=True)
    of_layer = [line for line in lines if "/0/" in line]
    (cut / ".export" / "layer-0.sha256").write_text("".join(of_layer))
    (cut / "SHA256SUMS").unlink()
    (cut / "explanations/1/0.jsonl").rename(cut / "explanations/1/.0.jsonl.99.part")
    untouched = (cut / "explanations/0/0.jsonl").stat().st_mtime_ns
    done = export(engine, run_id, "openai", cut, processes=1)
    assert done.resumed_layers == 1
    assert (cut / "explanations/0/0.jsonl").stat().st_mtime_ns == untouched
    assert files_of(cut) == files_of(exported_once)


def test_a_run_that_has_more_is_written_anew(engine, run_id, tmp_path):
    export_openai(engine, run_id, tmp_path)
    with engine.begin() as connection:
        row = ExplanationRow(run_id, 0, UNEXPLAINED, "late", "x")
        results.explanations.save(connection, [row])
    assert f"explanations/0/{UNEXPLAINED}.jsonl" in export_openai(engine, run_id, tmp_path)


def test_an_export_does_not_mix_with_other_files(engine, run_id, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="contains other files"):
        export(engine, run_id, "openai", tmp_path, processes=1)
    export(engine, run_id, "openai", tmp_path / "new", processes=1)
    with pytest.raises(InputError, match="contains other files"):
        export(engine, run_id, "parquet", tmp_path / "new", processes=1)


def test_two_runs_with_the_same_rows_export_the_same(engine, run_id, exported_once, tmp_path):
    other = make_run(engine, "other")
    assert other != run_id
    assert export_openai(engine, other, tmp_path) == files_of(exported_once)


@pytest.mark.parametrize(("at_once", "most_cached", "n_read"), [(128, 65_536, 1), (2, 3, None)])
def test_excerpts_are_read_for_many_neurons_at_once_and_forgotten_if_they_are_too_many(
    engine, run_id, exported_once, tmp_path, monkeypatch, at_once, most_cached, n_read
):
    monkeypatch.setattr(exported, "NEURONS_AT_ONCE", at_once)
    monkeypatch.setattr(exported, "MAX_CACHED", most_cached)
    read: list[str] = []

    def note(_connection, _cursor, statement, *_):
        if "FROM excerpt" in statement:
            read.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        with snapshot(engine) as connection:
            run = exported.ExportedRun.load(connection, run_id)
            write_layer(connection, run, 0, Folder(tmp_path), lambda: None)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert n_read is None or len(read) == n_read
    of_layer = {path: content for path, content in files_of(exported_once).items() if "/0/" in path}
    assert files_of(tmp_path) == of_layer
