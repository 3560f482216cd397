"""Runs that keep short documents: records of many lengths through every stage, format and view."""

import json

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from db import corpora, runs
from db.neuron import load_neurons
from db.session import transaction
from neurogloss.config.run import RunConfig
from orchestrator.cli.neuron import neuron as neuron_command
from orchestrator.datasets.export import export
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.inputs import check_inputs
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.openai_dataset import differences, export_openai, import_folder
from tests.support.small_run import finish, run_config

END, TOKENS, LAYERS = "<|endoftext|>", 16, (0, 3)


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """A file with short documents, of which one is empty, and a few long ones."""
    words = ["the", "list", "of", " a", "function", "returns", "value", "name", "each", "class"]
    texts = [" ".join(words[n % 7 :][: 1 + n % 9]) + f" {n}" for n in range(90)]
    texts += [" ".join(f"{word} {n}" for n in range(30) for word in words)[n:] for n in range(2)]
    file = tmp_path_factory.mktemp("corpus") / "documents.jsonl"
    file.write_text("\n".join(json.dumps({"text": words}) for words in ["", *texts]))
    return str(file)


def configured(base_url, documents, changes):
    values = run_config(base_url).model_dump(mode="json")
    values["corpus"] |= {"source": documents, "short": "keep", "begin_of_text": True}
    values["corpus"] |= {"excerpts": 130}
    values["scoring"] |= {"calibration": ["linear", "percentile"], "baselines": True}
    values["ablation"] = {"per_layer": 3}
    for part, keys in changes.items():
        values.setdefault(part, {}).update(keys)
    return RunConfig.model_validate(values)


CALLS = {
    "explainer": {"candidates": 2, "revise": True, "sentences": 4},
    "scoring": {"also": ["detection", "fuzzing"]},
    "scorer": {"endpoint": "here", "model": "rehearsal"},
}
NO_CALLS = {"explainer": {"kind": "lookup"}, "simulator": {"kind": "lookup"}}


@pytest.fixture(params=[CALLS, NO_CALLS], ids=["calls", "no calls"])
def finished(request, engine, services, monkeypatch, documents):
    """The id of a run with every stage that there is."""
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    with RehearsalServer(RehearsalOptions()) as server:
        config = configured(server.base_url, documents, request.param)
        run_id = create_or_resume(engine, config, check_inputs(config, {}), lambda: None)
        finish(engine, run_id)
    return run_id


def test_records_of_many_lengths_go_through_every_stage_format_and_view(
    engine, finished, database_url, monkeypatch, tmp_path
):
    with transaction(engine) as connection:
        lengths = _check_corpus(connection, finished)
        neurons = [
            stored
            for layer in LAYERS
            for stored in load_neurons(
                connection, finished, layer, runs.neurons_in(connection, finished, layer)
            )
        ]
    assert differences(engine, "whole") == []
    scored = [stored for stored in neurons if stored.score and stored.score.score is not None]
    assert len(scored) > len(neurons) / 2
    for stored in neurons:
        _check_neuron(stored, lengths)
    ablated = [stored.ablation for stored in neurons if stored.ablation]
    assert len(ablated) == 3 * len(LAYERS)
    assert any(row.score is not None for row in ablated)
    _check_formats(engine, finished, tmp_path, lengths)
    monkeypatch.setenv("DATABASE_URL", database_url)
    place = [str(scored[0].layer), str(scored[0].neuron)]
    page = CliRunner().invoke(neuron_command, [*place, "--run", "whole", "--records", "9"])
    assert page.exit_code == 0, page.output
    assert END in page.output
    found = CliRunner().invoke(neuron_command, [*place, "--run", "whole", "--json"])
    assert json.loads(found.output)["score"] == scored[0].score.score


def _check_corpus(connection, run_id):
    """Check that a document begins with the token that says so; return the lengths of excerpts."""
    corpus = corpora.get(connection, runs.get(connection, run_id).corpus_id)
    texts = corpora.token_texts(connection, corpus.vocabulary_id)
    rows = connection.execute(text("SELECT excerpt, position, tokens FROM excerpt"))
    begins = {
        texts[int.from_bytes(bytes(tokens[:4]), "little")] == END
        for _, position, tokens in rows
        if position == 0
    }
    assert begins == {True}
    assert corpus.n_documents_too_short == 1  # the empty one
    lengths = corpora.lengths(connection, corpus.id).tolist()
    assert len(set(lengths)) > 5
    assert max(lengths) == TOKENS
    return lengths


def _check_neuron(stored, lengths):
    records = stored.records
    assert records.n_tokens == sum(lengths)
    assert [len(record) for record in records.on_all()] == [lengths[e] for e in records.excerpts]
    for excerpt, row in stored.simulations.items():
        assert len(row.expected_activations) == lengths[excerpt]
    assert set(stored.baselines) == {"lookup", "token_list", "weights"}
    assert stored.failures == {}


def _check_formats(engine, run_id, folder, lengths):
    files = export_openai(engine, run_id, folder / "openai")
    record = json.loads(next(files[path] for path in files if path.startswith("collated-")))
    top = record["most_positive_activation_records"]
    assert len({len(of_record["tokens"]) for of_record in top + record["random_sample"]}) > 1
    imported = import_folder(engine, folder / "openai")
    assert differences(engine, "imported") == []
    again = export_openai(engine, imported, folder / "again")
    same = [path for path in files if path.startswith(("collated", "explanations"))]
    assert [path for path in same if files[path] != again[path]] == []
    for name in ("parquet", "neuronpedia"):
        export(engine, run_id, name, folder / name, processes=1)
    for row in pq.read_table(folder / "parquet/simulations").to_pylist():
        assert len(row["expected_activations"]) == lengths[row["excerpt"]]
