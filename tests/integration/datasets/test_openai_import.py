"""Import of OpenAI's format: what is published, what is wrong, what is interrupted."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from db import datasets, runs
from neurogloss.errors import InputError
from orchestrator.cli.export import export as export_command
from orchestrator.cli.import_ import import_ as import_command
from orchestrator.datasets.imports import imported_run
from orchestrator.datasets.imports.importer import ImportSelection, import_dataset
from orchestrator.datasets.imports.source import HttpSource, open_source
from tests.support.dataset_run import (
    CONSTANT,
    DEAD,
    FAILED,
    LAYERS,
    NEURONS,
)
from tests.support.openai_dataset import (
    differences,
    import_folder,
    in_views,
)


def test_an_imported_run_is_a_run_like_any_other(engine, run_id, exported):
    assert in_views(engine, "imported") == [0, 0, 0, 0]
    import_folder(engine, exported)
    query = """
        SELECT layer, neuron, state, explanation, score, score_top, score_random, max_activation
        FROM neuron_summary WHERE run = :run AND neuron <> :failed ORDER BY layer, neuron
    """
    with engine.begin() as connection:
        rows = [
            connection.execute(text(query), {"run": name, "failed": FAILED}).all()
            for name in ("source", "imported")
        ]
        origin = datasets.origin(connection, runs.find(connection, "imported").id)
    assert rows[0] == rows[1]
    assert origin.source == str(exported)
    assert differences(engine, "imported") == []
    with pytest.raises(InputError, match="there is a run of this name"):
        import_folder(engine, exported)


@pytest.fixture
def dataset(run_id, exported):
    """An exported dataset that says nothing of itself, as OpenAI's, beside the run itself."""
    shutil.rmtree(exported / ".export")
    (exported / "dataset.json").unlink()
    (exported / "SHA256SUMS").unlink()
    return exported


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def debugger_names(value):
    """Rename what Transformer Debugger has other names for."""
    names = {
        "layer_index": "layer", "neuron_index": "idx", "activation_scale": "unit",
        "simulation": "sequence_simulation", "explanation": "explanation_or_baseline",
        "scored_explanations": "scored_explanation_or_baseline_list",
    }  # fmt: skip
    if isinstance(value, list):
        return [debugger_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    renamed = {
        names.get(k, k): debugger_names(v) for k, v in value.items() if k != "dataclass_name"
    }
    if "layer" in renamed:
        renamed["layer"] = str(renamed["layer"])
    return renamed | {"response": "left alone"}


class Published(BaseHTTPRequestHandler):
    """Serves a folder, but answers the first request for each file with 503 or not at all."""

    root: Path
    asked: dict[str, int]

    def do_GET(self):
        path = self.path.lstrip("/")
        self.asked[path] = self.asked.get(path, 0) + 1
        if self.asked[path] == 1 and path.endswith("0.json"):
            self.send_response(503)
            self.send_header("Retry-After", "0")
            self.end_headers()
            return
        file = self.root / path
        self.send_response(200 if file.is_file() else 404)
        self.end_headers()
        if file.is_file():
            self.wfile.write(file.read_bytes())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(dataset):
    handler = type("Handler", (Published,), {"root": dataset, "asked": {}})
    found = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}", handler
    found.shutdown()
    found.server_close()


def test_the_published_layout_is_read_over_http_with_its_aliases_and_nulls(
    engine, dataset, server, monkeypatch
):
    monkeypatch.setitem(imported_run.SHAPES, "gpt2", (LAYERS, NEURONS))
    for path in dataset.rglob("*.json*"):
        path.write_text(json.dumps(debugger_names(json.loads(path.read_text()))))
    records = dataset / "collated-activations/0/0.json"
    nulls = ("mean", "variance", "random_sample_by_quantile", "quantile_boundaries")
    edit(records, lambda value: value.update(dict.fromkeys(nulls)))
    records.write_text(records.read_text().replace('"kurtosis": null', '"kurtosis": NaN'))
    tokens = dataset / "related-tokens/activation-based/0/0.json"
    edit(tokens, lambda value: value["average_activations"].__setitem__(3, None))
    weights = dataset / "related-tokens/weight-based/0/0.json"
    edit(weights, lambda value: value["input_positive"]["strengths"].__setitem__(0, None))

    url, handler = server
    wanted = ImportSelection("published", subject="gpt2", related=True)
    done = import_dataset(engine, HttpSource(url, 4), wanted, concurrency=4)

    assert done.neurons == LAYERS * NEURONS
    assert max(handler.asked.values()) == 3  # the first neuron is looked at before, too
    columns = "neuron, layer, explanation, score, score_top, score_random"
    query = f"SELECT {columns} FROM neuron_summary WHERE run = :run AND neuron NOT IN (:a, :b)"  # noqa: S608
    with engine.begin() as connection:
        values = {"a": FAILED, "b": CONSTANT}
        ours, theirs = (
            connection.execute(text(f"{query} ORDER BY 1, 2"), {"run": name, **values}).all()
            for name in ("source", "published")
        )
        run = runs.find(connection, "published")
        assert datasets.origin(connection, run.id).activation_function == "optimized GELU"
        row = connection.execute(
            text(
                "SELECT mean, variance, kurtosis, buckets, quantile_boundaries "
                "FROM neuron_records WHERE run_id = :run AND layer = 0 AND neuron = 0"
            ),
            {"run": run.id},
        ).one()
    assert [tuple(row) for row in ours] == [tuple(row) for row in theirs]
    assert tuple(row) == (None, None, None, [], [])
    assert differences(engine, "published") == []


def test_an_import_that_lost_its_server_goes_on(engine, dataset, server, monkeypatch):
    monkeypatch.setitem(imported_run.SHAPES, "gpt2", (LAYERS, NEURONS))
    monkeypatch.setattr("orchestrator.datasets.imports.importer.CHUNK", 2)
    url, handler = server
    late = dataset / f"collated-activations/1/{DEAD}.json"
    kept = late.read_bytes()
    late.unlink()
    wanted = ImportSelection("published", subject="gpt2")
    with pytest.raises(InputError, match=f"collated-activations/1/{DEAD}.json is missing"):
        import_dataset(engine, HttpSource(url, 2), wanted, concurrency=2)
    assert in_views(engine, "published") == [0, 0, 0, 0]
    late.write_bytes(kept)
    handler.asked.clear()
    done = import_dataset(engine, HttpSource(url, 2), wanted, concurrency=2)
    assert done.resumed == NEURONS
    assert not any("/0/" in path for path in handler.asked)
    assert in_views(engine, "published")[2] == LAYERS * NEURONS


def test_another_import_of_an_unfinished_name_is_refused_or_restarts(engine, dataset, tmp_path):
    (dataset / "collated-activations/1/0.json").write_text("[]")
    with pytest.raises(InputError, match=r"1/0\.json: the file is \[\], not an object"):
        import_folder(engine, dataset, subject="gpt2")
    other = shutil.copytree(dataset, tmp_path / "other")
    shutil.rmtree(other / "collated-activations/1")
    with pytest.raises(InputError, match="--restart"):
        import_folder(engine, other, subject="gpt2")
    import_folder(engine, other, subject="gpt2", restart=True)
    assert in_views(engine, "imported")[2] == NEURONS


WRONG = [
    ("mean", "high", r"mean is 'high', not a number or null"),
    ("variance", 1e999, r"variance is inf, not a finite number"),
    ("neuron_id", {"layer_index": 1, "neuron_index": 0}, r"neuron_id.layer_index is 1, not 0"),
    ("neuron_id", None, r"neuron_id is None, not an object"),
    ("most_positive_activation_records", [], r"most_positive_activation_records is \[\], not"),
    (
        "random_sample",
        [{"tokens": ["a"], "activations": [1, 2]}],
        r"random_sample\[0\].activations",
    ),
    (
        "random_sample",
        [{"tokens": [3], "activations": [1]}],
        r"random_sample\[0\].tokens\[0\] is 3",
    ),
    (
        "random_sample",
        [{"tokens": ["a"], "activations": [1e6]}],
        r"activations\[0\] is 1000000.0, not a number from -65504 to 65504",
    ),
    ("random_sample", [{"tokens": ["a"], "activations": ["1"]}], r"activations\[0\] is '1'"),
    ("random_sample_by_quantile", [[]] * 6, r"has 6 lists"),
    ("quantile_boundaries", [None], r"quantile_boundaries"),
]


@pytest.mark.parametrize(("field", "value", "message"), WRONG)
def test_a_wrong_value_is_named(engine, dataset, field, value, message):
    path = dataset / "collated-activations/0/0.json"
    edit(path, lambda found: found.update({field: value}))
    with pytest.raises(InputError, match=message) as error:
        import_folder(engine, dataset, subject="gpt2")
    assert "collated-activations/0/0.json" in str(error.value)
    assert in_views(engine, "imported") == [0, 0, 0, 0]


WRONG_DISTRIBUTIONS = [
    (lambda d: d["distribution_values"][1].append(3), r"distribution_probabilities\[1\] has"),
    (lambda d: d["distribution_values"][1].__setitem__(0, 11), r"values\[1\] is .* 0 to 10"),
    (lambda d: d["distribution_values"][1].__setitem__(0, "3"), r"values\[1\]\[0\] is '3'"),
    (lambda d: d["distribution_values"].__setitem__(2, 7), r"values\[2\] is 7, not a list"),
    (lambda d: d["distribution_values"].pop(), r"distribution_values has 7 items"),
    (lambda d: d["distribution_probabilities"][0].__setitem__(0, -1), r"a list of probabilities"),
    (lambda d: d["distribution_probabilities"][0].__setitem__(0, 10**400), "infinity"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_DISTRIBUTIONS)
def test_a_wrong_distribution_is_named(engine, dataset, change, message):
    def change_first(value):
        scored = value["scored_explanations"][0]["scored_simulation"]
        change(scored["scored_sequence_simulations"][0]["simulation"])

    edit(dataset / "explanations/0/0.jsonl", change_first)
    with pytest.raises(InputError, match=message):
        import_folder(engine, dataset, subject="gpt2")


def test_a_file_that_is_not_the_one_listed_is_refused(engine, exported):
    edit(exported / "collated-activations/0/3.json", lambda value: value.update(mean=7))
    with pytest.raises(InputError, match="SHA256SUMS"):
        import_folder(engine, exported)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("http://example.com/data", "only https"),
        ("https://user:password@example.com/data", "a user"),
        ("ftp://example.com", "not of the form"),
        ("https://[", "no URL"),
        ("/nowhere", "is not a folder"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(source, message):
    with pytest.raises(InputError, match=message) as error:
        open_source(source, 1)
    assert "password" not in str(error.value)


def test_scores_on_rounded_activations_are_computed_and_published_ones_kept(engine, dataset):
    def shift(value):
        scored = value["scored_explanations"][0]["scored_simulation"]
        scored["ev_correlation_score"] += 0.001

    edit(dataset / "explanations/0/0.jsonl", shift)
    run_id = import_folder(engine, dataset, subject="gpt2")
    query = text("""
        SELECT abs(published_score - score - 0.001) < 1e-9 FROM score
        JOIN imported_neuron USING (run_id, layer, neuron)
        WHERE run_id = :run AND layer = 0 AND neuron = 0
    """)
    with engine.begin() as connection:
        assert connection.scalar(query, {"run": run_id})


@pytest.mark.parametrize("value", ["", "a", "1-2-3", "5-3", "-1", "0,", "999999"])
def test_layers_that_are_none_are_refused(value):
    found = CliRunner().invoke(import_command, ["x", "--name", "y", "--layers", value])
    assert found.exit_code == 2
    assert value in found.output


def test_the_commands_export_and_import(engine, run_id, database_url, tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")  # which neither of them asks
    folder = str(tmp_path / "out")
    done = CliRunner().invoke(
        export_command, ["source", "--format", "openai", "--to", folder, "--json"]
    )
    assert json.loads(done.output)["neurons"] == LAYERS * NEURONS
    done = CliRunner().invoke(import_command, [folder, "--name", "part", "--layers", "1", "--json"])
    assert json.loads(done.output) == {
        "run": "part", "neurons": NEURONS, "resumed": 0, "other_explanations": 0,
    }  # fmt: skip
    assert in_views(engine, "part")[2] == NEURONS


def test_an_import_whose_lock_is_lost_ends_and_goes_on_when_begun_again(
    engine, exported, monkeypatch
):
    monkeypatch.setattr("orchestrator.datasets.imports.importer.CHUNK", 2)
    cut_off = []

    def lose_the_lock(done, total):
        if cut_off:
            return
        with engine.begin() as connection:
            query = "UPDATE run_lock SET expires_at = '-infinity' RETURNING run_id"
            cut_off.extend(connection.execute(text(query)).all())

    source = open_source(str(exported), 1)
    wanted = ImportSelection("imported")
    with pytest.raises(InputError, match="begin again, and it goes on from here"):
        import_dataset(engine, source, wanted, 1, lose_the_lock)
    assert len(cut_off) == 1
    assert import_dataset(engine, source, wanted, 1).resumed == 2
    assert differences(engine, "imported") == []
