"""Runs on the records of an imported one: re-explained, re-simulated, without the subject model."""

import json
import os
import subprocess
import sys

import pytest
from sqlalchemy import text

from db import datasets, runs
from orchestrator.datasets.imports.importer import ImportSelection, import_dataset
from orchestrator.datasets.imports.source import FolderSource
from tests.support.dataset_run import DEAD, LAYERS, NEURONS, UNEXPLAINED

RUN = """
name = "{name}"
[records]
run = "imported"
[explainer]
{explainer}
[scoring]
top = 2
random = 2
[simulator]
kind = "json"
endpoint = "e"
model = "rehearsal"
[endpoints.e]
base_url = "{url}"
"""
BY_MODEL = 'endpoint = "e"\nmodel = "rehearsal"'


@pytest.fixture
def imported(engine, run_id, exported_once):
    import_dataset(engine, FolderSource(exported_once), ImportSelection("imported"), concurrency=1)


@pytest.fixture
def neurogloss(services, database_url, tmp_path):
    """Run the command line on the database of the test; return the exit code and the output."""
    env = {**os.environ, "DATABASE_URL": database_url, "REDIS_URL": services.redis_url}

    def run(*arguments):
        command = [sys.executable, "-m", "orchestrator", *arguments]
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=110, check=False
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def rehearsal_url():
    command = [sys.executable, "-m", "orchestrator", "rehearsal-server", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield process.stdout.readline().split()[0]
    process.terminate()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("explainer", ['kind = "stored"', BY_MODEL], ids=["stored", "by a model"])
def test_an_imported_run_is_simulated_and_explained_by_another_model(
    engine, imported, neurogloss, rehearsal_url, tmp_path, explainer
):
    config = tmp_path / "run.toml"
    config.write_text(RUN.format(name="again", explainer=explainer, url=rehearsal_url))
    code, output = neurogloss("estimate", str(config), "--json")
    assert (code, json.loads(output)["neurons"]) == (0, LAYERS * NEURONS), output
    code, output = neurogloss("run", str(config), "--local-workers", "api=1")
    failed = LAYERS if "stored" in explainer else 0  # the unexplained neuron of each layer
    assert code == (3 if failed else 0), output
    query = text("""
        SELECT ours.neuron, ours.state, ours.reason, ours.explanation = theirs.explanation AS same
        FROM neuron_summary AS ours JOIN neuron_summary AS theirs USING (layer, neuron)
        WHERE ours.run = 'again' AND theirs.run = 'imported'
    """)
    with engine.begin() as connection:
        rows = connection.execute(query).all()
        run = runs.find(connection, "again")
        origin = datasets.origin(connection, run.id)
        calls = connection.scalar(text("SELECT count(*) FROM call WHERE purpose = 'simulate'"))
    assert (origin.source, origin.activation_function) == ("run imported", "gelu_new")
    assert len(rows) == LAYERS * NEURONS
    assert calls > 0
    for row in rows:
        if row.neuron == DEAD:
            assert row.state == "undefined"
        elif row.neuron == UNEXPLAINED and failed:
            assert (row.state, "not_explained" in row.reason) == ("failed", True)
        else:
            assert row.state in ("scored", "undefined")
            assert row.same is (True if failed else row.same)
    assert neurogloss("run", str(config))[0] == code
    code, output = neurogloss("verify", "again")
    assert "progress: collect" not in output, output
    assert code == 0, output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({'run = "imported"': 'run = "nowhere"'}, "there is no run of this name"),
        ({'run = "imported"': ""}, "needs records.run"),
        ({'kind = "json"': 'kind = "lookup"'}, "need the subject model"),
        ({'run = "imported"': 'run = "imported"\n[neurons]\nlayers = [7]'}, "has none of them"),
    ],
)
def test_a_run_that_cannot_have_the_records_is_refused(
    imported, neurogloss, rehearsal_url, tmp_path, change, message
):
    written = RUN.format(name="again", explainer='kind = "stored"', url=rehearsal_url)
    for old, new in change.items():
        written = written.replace(old, new)
    config = tmp_path / "run.toml"
    config.write_text(written)
    code, output = neurogloss("run", str(config))
    assert (code, message in output) == (2, True), output
