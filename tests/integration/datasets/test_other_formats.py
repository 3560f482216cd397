"""Parquet and Neuronpedia."""

import gzip
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import create_engine, make_url, text

from neurogloss.errors import InputError
from orchestrator.datasets.export import export
from orchestrator.datasets.neuronpedia.lines import KINDS
from orchestrator.datasets.neuronpedia.loader import load
from orchestrator.datasets.neuronpedia.source import BOT
from orchestrator.datasets.parquet.schemas import SCHEMAS
from tests.support.databases import connected, copied
from tests.support.dataset_run import DEAD, FAILED, LAYERS, NEURONS, make_run

N = LAYERS * NEURONS
ABSENT = "baselines"  # in the run that is exported


@pytest.fixture(scope="module")
def parquet(services, template, tmp_path_factory):
    """What an export of the run as Parquet left."""
    folder = tmp_path_factory.mktemp("parquet")
    with copied(services, template, "exported") as url, connected(url) as engine:
        export(engine, make_run(engine), "parquet", folder, processes=1)
    return folder


def table(root, name):
    return pq.read_table(root / name).to_pylist() if (root / name).exists() else []


def test_parquet_holds_the_rows_of_the_database(engine, run_id, parquet):
    rows = {name: table(parquet, name) for name in SCHEMAS}
    counts = {
        "neurons": "SELECT count(*) FROM neuron_records",
        "records": "SELECT sum(cardinality(excerpts)) FROM neuron_records",
        "simulations": "SELECT count(*) FROM simulation",
        "excerpts": "SELECT count(*) FROM excerpt",
        "token_means": "SELECT sum(cardinality(top_tokens)) FROM token_means",
        "related_neurons": "SELECT sum(cardinality(weights)) FROM related_neurons",
        "related_tokens": "SELECT sum(cardinality(weights)) FROM related_tokens",
        "baselines": "SELECT count(*) FROM baseline_score",
    }
    with engine.begin() as connection:
        for name, query in counts.items():
            assert len(rows[name]) == connection.scalar(text(query)), name
        stored = connection.execute(
            text("SELECT layer, neuron, score, undefined_reason FROM score")
        )
        scores = {(layer, neuron): tuple(rest) for layer, neuron, *rest in stored}
    for row in rows["neurons"]:
        expected = scores.get((row["layer"], row["neuron"]), (None, None))
        assert (row["score"], row["undefined_reason"]) == expected


def test_scores_can_be_recomputed_from_parquet(parquet):
    records = {(r["layer"], r["neuron"], r["excerpt"]): r for r in table(parquet, "records")}
    simulations = {}
    for row in table(parquet, "simulations"):
        key = row["layer"], row["neuron"]
        true = records[(*key, row["excerpt"])]["activations"]
        simulations.setdefault(key, []).append((true, row["expected_activations"]))
    checked = 0
    for row in table(parquet, "neurons"):
        found = simulations.get((row["layer"], row["neuron"]), [])
        if row["score"] is not None and len(found) == 4:
            true, expected = (np.concatenate(part) for part in zip(*found, strict=True))
            assert np.corrcoef(true, expected)[0, 1] == pytest.approx(row["score"], abs=1e-6)
            checked += 1
    assert checked > 0


def test_the_data_card_says_what_it_holds_and_under_which_licence(parquet):
    card = (parquet / "README.md").read_text()
    header = card.split("---")[1]
    for name in SCHEMAS:  # a table without rows has no file, which `load_dataset` would refuse
        has_rows = bool(table(parquet, name))
        assert (f"config_name: {name}\n  data_files: {name}/*.parquet" in header) == has_rows
        assert bool(list((parquet / name).glob("*.parquet"))) == has_rows
    assert f"config_name: {ABSENT}" not in header
    assert "MIT, with neurogloss" in card
    assert "PSF-2.0" in card
    assert "none (dead)" in card


def test_load_dataset_reads_every_table_that_has_rows(parquet, tmp_path):
    library = pytest.importorskip("datasets")
    held = [name for name in SCHEMAS if table(parquet, name)]
    assert library.get_dataset_config_names(str(parquet)) == held
    for name in held:
        found = library.load_dataset(str(parquet), name, split="train", cache_dir=str(tmp_path))
        assert found.num_rows == len(table(parquet, name))


def test_a_table_without_rows_does_not_keep_the_file_of_an_earlier_export(
    engine, run_id, parquet, tmp_path
):
    folder = shutil.copytree(parquet, tmp_path / "parquet")
    stale = folder / ABSENT / "layer-00.parquet"
    pq.write_table(SCHEMAS[ABSENT].empty_table(), stale)
    export(engine, run_id, "parquet", folder, processes=1)
    assert not stale.exists()
    assert f"config_name: {ABSENT}" not in (folder / "README.md").read_text()


def test_duckdb_reads_the_layers_together(parquet):
    library = pytest.importorskip("duckdb")
    query = f"SELECT count(*) FROM read_parquet('{parquet}/neurons/*.parquet')"  # noqa: S608
    assert library.sql(query).fetchall() == [(N,)]


@pytest.fixture
def exported(engine, run_id, tmp_path):
    export(engine, run_id, "neuronpedia", tmp_path, processes=1)
    return tmp_path


def lines(root, kind, layer=0):
    path = root / f"v1/demo/{layer}-mlp-source/{kind}/batch-0.jsonl.gz"
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_every_line_for_neuronpedia_has_every_key_and_no_column_gets_a_null_it_refuses(exported):
    for kind in KINDS:
        found = lines(exported, kind)
        assert len({tuple(line) for line in found}) == 1, kind
        assert all("createdAt" not in line for line in found)
    assert len(lines(exported, "features")) == NEURONS
    for line in lines(exported, "activations"):
        assert None not in line["values"]
        assert line["maxValue"] == max(line["values"])
        assert line["values"][line["maxValueTokenIndex"]] == line["maxValue"]
        assert (line["binMin"] == -1) == (line["dataSource"] == "top")
    assert lines(exported, "explanations")[0]["embedding"] is None


@pytest.fixture
def neuronpedia(services):
    """A database with the tables that Neuronpedia's migrations make, as far as they are loaded."""
    admin = create_engine(services.database_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE neuronpedia"))
    found = create_engine(make_url(services.database_url).set(database="neuronpedia"))
    with found.begin() as connection:
        for statement in TABLES.split(";"):
            connection.execute(text(statement))
    yield found
    found.dispose()
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE neuronpedia WITH (FORCE)"))
    admin.dispose()


TABLES = """
CREATE TYPE "Visibility" AS ENUM ('PUBLIC', 'UNLISTED', 'PRIVATE');
CREATE TABLE "User" (id text PRIMARY KEY);
CREATE TABLE "SourceRelease" (name text PRIMARY KEY, visibility "Visibility" NOT NULL,
  description text NOT NULL, "creatorName" text NOT NULL, urls text[],
  "creatorId" text NOT NULL REFERENCES "User", "createdAt" timestamptz NOT NULL DEFAULT now());
CREATE TABLE "Model" (id text PRIMARY KEY, visibility "Visibility" NOT NULL,
  "displayName" text NOT NULL, layers int NOT NULL, "neuronsPerLayer" int NOT NULL,
  owner text NOT NULL, "creatorId" text NOT NULL REFERENCES "User", dimension int,
  "createdAt" timestamptz NOT NULL DEFAULT now(), "updatedAt" timestamptz NOT NULL DEFAULT now());
CREATE TABLE "SourceSet" ("modelId" text NOT NULL REFERENCES "Model", name text NOT NULL,
  visibility "Visibility" NOT NULL, description text NOT NULL, "creatorName" text NOT NULL,
  urls text[], "creatorId" text NOT NULL REFERENCES "User",
  "releaseName" text REFERENCES "SourceRelease", PRIMARY KEY ("modelId", name));
CREATE TABLE "Source" (id text NOT NULL, "modelId" text NOT NULL, "setName" text NOT NULL,
  visibility "Visibility" NOT NULL, "creatorId" text NOT NULL REFERENCES "User", num_prompts int,
  dataset text, notes text, PRIMARY KEY ("modelId", id),
  FOREIGN KEY ("modelId", "setName") REFERENCES "SourceSet");
CREATE TABLE "Neuron" ("modelId" text NOT NULL, layer text NOT NULL, index text NOT NULL,
  "sourceSetName" text, "creatorId" text REFERENCES "User", "maxActApprox" float8,
  frac_nonzero float8 NOT NULL DEFAULT 0, pos_str text[], pos_values float8[], neg_str text[],
  neg_values float8[], freq_hist_data_bar_heights float8[], freq_hist_data_bar_values float8[],
  "hasVector" boolean NOT NULL DEFAULT false, "createdAt" timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY ("modelId", layer, index),
  FOREIGN KEY ("modelId", layer) REFERENCES "Source");
CREATE TABLE "Activation" (id text PRIMARY KEY, "modelId" text NOT NULL, layer text NOT NULL,
  index text NOT NULL, "creatorId" text NOT NULL REFERENCES "User", tokens text[], values float8[],
  "maxValue" float8 NOT NULL, "maxValueTokenIndex" int NOT NULL, "minValue" float8 NOT NULL,
  "binMin" float8, "binMax" float8, "binContains" float8, "dataSource" text, "dataIndex" text,
  "createdAt" timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY ("modelId", layer, index) REFERENCES "Neuron");
CREATE TABLE "ExplanationType" (name text PRIMARY KEY, "displayName" text NOT NULL,
  description text NOT NULL, "creatorName" text NOT NULL,
  "creatorId" text NOT NULL REFERENCES "User");
CREATE TABLE "Explanation" (id text PRIMARY KEY, "modelId" text NOT NULL, layer text NOT NULL,
  index text NOT NULL, description text NOT NULL, "authorId" text NOT NULL REFERENCES "User",
  "typeName" text REFERENCES "ExplanationType", "explanationModelName" text, notes text,
  "scoreV1" float8 NOT NULL DEFAULT 0, "scoreV2" float8,
  "createdAt" timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY ("modelId", layer, index) REFERENCES "Neuron");
CREATE TABLE "ExplanationScoreType" (name text PRIMARY KEY, "displayName" text NOT NULL,
  description text NOT NULL, "creatorName" text NOT NULL,
  "creatorId" text NOT NULL REFERENCES "User");
CREATE TABLE "ExplanationScoreModel" (name text PRIMARY KEY, "displayName" text NOT NULL,
  description text NOT NULL, "creatorName" text NOT NULL);
CREATE TABLE "ExplanationScore" (id text PRIMARY KEY,
  "initiatedByUserId" text NOT NULL REFERENCES "User", value float8 NOT NULL,
  "explanationId" text NOT NULL REFERENCES "Explanation",
  "explanationScoreTypeName" text NOT NULL REFERENCES "ExplanationScoreType",
  "explanationScoreModelName" text NOT NULL REFERENCES "ExplanationScoreModel",
  "jsonDetails" text NOT NULL DEFAULT '', "createdAt" timestamptz NOT NULL DEFAULT now());
CREATE TABLE "ExplanationActivationV1" (id text PRIMARY KEY,
  "explanationId" text NOT NULL REFERENCES "Explanation",
  "activationId" text NOT NULL REFERENCES "Activation", "expectedValues" float8[],
  score float8 NOT NULL DEFAULT 0, "scorerAutoInterpModel" text, version int NOT NULL DEFAULT 2)
"""


def seed(neuronpedia):
    with neuronpedia.begin() as connection:
        connection.execute(text('INSERT INTO "User" VALUES (:id)'), {"id": BOT})


def test_the_loader_carries_scores_and_simulations_and_can_be_run_again(
    engine, exported, neuronpedia
):
    seed(neuronpedia)
    stored = load(neuronpedia, exported)
    assert stored["Neuron"] == N
    assert stored["Activation"] == 16 * N
    assert set(load(neuronpedia, exported).values()) == {0}
    query = text("""
        SELECT left(layer, 1)::int, index::int, value FROM "ExplanationScore"
        JOIN "Explanation" ON "Explanation".id = "explanationId" WHERE "scoreV2" = value
    """)
    ours = text("SELECT layer, neuron, score FROM score WHERE score IS NOT NULL")
    with neuronpedia.begin() as theirs, engine.begin() as connection:
        assert sorted(theirs.execute(query).all()) == sorted(connection.execute(ours).all())
        undefined = theirs.execute(
            text('SELECT "scoreV2" FROM "Explanation" WHERE index = :i'), {"i": str(FAILED)}
        )
        assert set(undefined.scalars()) == {None}
        assert not theirs.scalar(
            text('SELECT count(*) FROM "Explanation" WHERE index = :i'), {"i": str(DEAD)}
        )
        tokens = theirs.scalar(
            text('SELECT count(*) FROM "Activation" WHERE cardinality(tokens) = 8')
        )
        assert tokens == 16 * N


def test_the_loader_says_what_is_missing(exported, neuronpedia, engine, tmp_path):
    with pytest.raises(InputError, match="seed"):
        load(neuronpedia, exported)
    with pytest.raises(InputError, match="not a Neuronpedia database"):
        load(engine, exported)
    with pytest.raises(InputError, match="not a Neuronpedia export"):
        load(neuronpedia, tmp_path / "nowhere")
    seed(neuronpedia)
    batch = next(exported.glob("v1/demo/*/features/batch-0.jsonl.gz"))
    batch.write_bytes(batch.read_bytes()[:100])
    with pytest.raises(InputError, match=r"batch-0\.jsonl\.gz"):
        load(neuronpedia, exported)
