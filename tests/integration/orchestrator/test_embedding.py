"""Explanations by meaning: `embed`, `search --meaning` and the page, against the rehearsal."""

import json

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from db import embeddings
from db.session import transaction
from orchestrator.embedding import QUERIES_A_MINUTE, QueryEmbeddings
from orchestrator.local.postgres import program
from rehearsal.faults import FaultRates
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.raw_server import head, raw_server
from web.app import make_app
from web.settings import WebSettings

MODEL = ("--model", "rehearsal")


@pytest.fixture
def server():
    with RehearsalServer() as server:
        yield server


@pytest.fixture
def embed(command, server, monkeypatch):
    """Run `neurogloss embed` on the finished run, in several requests; return code and output."""
    monkeypatch.setattr("orchestrator.embedding.AT_ONCE", 5)

    def embed(*options):
        return command("embed", "whole", "--base-url", server.base_url, *MODEL, *options)

    return embed


@pytest.fixture
def explained(whole):
    """The number of neurons with an explanation."""
    with whole.begin() as connection:
        return connection.scalar(text("SELECT count(*) FROM explanation"))


def value(said):
    """Return the JSON that an output begins with, before the lines of its log."""
    return json.JSONDecoder().raw_decode(said)[0]


def test_a_run_is_embedded_once_and_changed_explanations_again(embed, whole, explained):
    code, said = embed("--dry-run", "--json")
    assert (code, value(said)["explanations"]) == (0, explained)
    code, said = embed("--json")
    assert code == 0
    done = value(said)
    assert done["explanations"] == explained
    assert done["tokens"] > explained
    assert value(embed("--json")[1])["explanations"] == 0
    with whole.begin() as connection:
        change = "UPDATE explanation SET text = 'harvests in autumn' WHERE layer = 0"
        changed = connection.execute(text(change)).rowcount
        tokens = connection.scalar(text("SELECT tokens FROM run_embedding"))
    assert value(embed("--json")[1])["explanations"] == changed
    with whole.begin() as connection:
        assert connection.scalar(text("SELECT tokens FROM run_embedding")) > tokens


def test_requests_that_fail_are_made_again(command, explained):
    faults = FaultRates(server_error=0.3, rate_limit=0.2, drop=0.1)
    with RehearsalServer(RehearsalOptions(faults=faults)) as server:
        code, said = command("embed", "whole", "--base-url", server.base_url, *MODEL, "--json")
        stats = server.stats()
    assert (code, value(said)["explanations"]) == (0, explained)
    assert value(said)["tokens"] == stats["prompt_tokens"]


def test_the_nearest_explanation_is_the_one_that_shares_the_most_words(embed, command, whole):
    with whole.begin() as connection:
        change = "UPDATE explanation SET text = :text WHERE layer = 0 AND neuron = :neuron"
        texts = ("harvests of wheat in autumn", "wheat in a sentence about trains")
        neurons = [
            row.neuron
            for row in connection.execute(
                text("SELECT neuron FROM explanation WHERE layer = 0 ORDER BY neuron LIMIT 2")
            )
        ]
        for neuron, explanation in zip(neurons, texts, strict=True):
            connection.execute(text(change), {"neuron": neuron, "text": explanation})
    assert embed()[0] == 0
    code, said = command(
        "search", "--meaning", "autumn harvests of wheat", "--run", "whole", "--json"
    )
    assert code == 0
    found = value(said)
    assert [(one["layer"], one["neuron"]) for one in found[:2]] == [(0, n) for n in neurons]
    assert 1 >= found[0]["similarity"] > found[1]["similarity"] > found[2]["similarity"]
    assert "harvests of wheat" in command("search", "--meaning", "harvests", "--run", "whole")[1]


def test_the_search_is_by_the_index_of_the_run(embed, whole):
    assert embed()[0] == 0
    with transaction(whole) as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        by = embeddings.find(connection, 1)
        vector = "[" + ",".join(["0.1"] * by.dimensions) + "]"
        as_vector = f"halfvec({by.dimensions})"
        distance = f"embedding::{as_vector} <=> '{vector}'::{as_vector}"
        near = f"WHERE run_id = 1 ORDER BY {distance} LIMIT 5"
        query = f"EXPLAIN SELECT FROM explanation_embedding {near}"
        plan = "\n".join(connection.scalars(text(query)))
    assert "ix_explanation_embedding_1" in plan


def test_the_page_finds_the_same_neurons(embed, command, whole, server):
    assert embed()[0] == 0
    settings = WebSettings(engine=whole, embed_query=QueryEmbeddings({}))
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        page = client.get("/runs/whole/meaning.json?like=rehearsal&n=5").json()
        html = client.get("/runs/whole/meaning?like=rehearsal&n=5").text
    by_command = value(
        command("search", "--meaning", "rehearsal", "--run", "whole", "--limit", "5", "--json")[1]
    )
    assert page["neurons"] == by_command
    assert len(by_command) == 5
    assert html.count('<th scope="row">') == 5


def test_a_run_without_embeddings_says_how_to_get_them(command, whole):
    code, said = command("search", "--meaning", "wheat", "--run", "whole")
    assert code == 2
    assert "neurogloss embed whole" in said
    with TestClient(make_app(WebSettings(engine=whole)), base_url="http://localhost") as client:
        assert "neurogloss embed whole" in client.get("/runs/whole/meaning?like=wheat").text


def test_a_page_says_that_the_endpoint_is_away(embed, whole, server):
    assert embed()[0] == 0
    with whole.begin() as connection:
        connection.execute(text("UPDATE run_embedding SET base_url = 'http://127.0.0.1:9/v1'"))
    settings = WebSettings(engine=whole, embed_query=QueryEmbeddings({}))
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        page = client.get("/runs/whole/meaning.json?like=rehearsal").json()
    assert "did not answer" in page["problem"]
    assert page["neurons"] == []


def test_a_server_of_pages_pays_for_few_searches_a_minute(embed, whole):
    assert embed()[0] == 0
    query = QueryEmbeddings({})
    with transaction(whole) as connection:
        by = embeddings.find(connection, 1)
    for number in range(QUERIES_A_MINUTE):
        query(by, f"text {number}")
    query(by, "text 0")  # which it remembers
    with pytest.raises(Exception, match="searches a minute"):
        query(by, "another text")


def test_another_model_is_refused_until_it_begins_anew(embed, command, server, explained):
    assert embed()[0] == 0
    other = (
        "embed",
        "whole",
        "--base-url",
        server.base_url,
        "--model",
        "other",
        "--dimensions",
        "8",
    )
    code, said = command(*other)
    assert (code, "--restart" in said) == (2, True)
    code, said = command(
        "embed", "whole", "--base-url", server.base_url, *MODEL, "--dimensions", "8"
    )
    assert code == 0  # nothing is left to embed
    code, said = embed("--restart", "--dimensions", "8", "--json")
    assert (code, value(said)["explanations"]) == (0, explained)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"data": [{"index": 0, "embedding": []}]}',
        b'{"data": [{"index": 0, "embedding": [1e999, 0]}]}',
        b'{"data": [{"index": 0, "embedding": [0, 0]}]}',
        b'{"data": [{"index": "x", "embedding": "no base64!"}]}',
        b'{"data": null}',
        b'{"data": [{"index": 0, "embedding": {"a": 1}}]}',
    ],
)
def test_an_answer_without_embeddings_is_refused_in_one_line(command, whole, body):
    with raw_server(lambda send: send(head() + body)) as base_url:
        code, said = command("embed", "whole", "--base-url", base_url, *MODEL)
    assert code == 2
    assert "Traceback" not in said
    assert "embedding" in said


def test_a_run_without_a_model_is_told_what_to_give(command, whole):
    code, said = command("embed", "whole")
    assert code == 2
    assert "--base-url" in said


def test_a_backup_leaves_the_embeddings_out(embed, command, tmp_path, monkeypatch):
    assert embed()[0] == 0
    monkeypatch.setenv("PATH", str(program("pg_dump").parent))  # of the server's version
    file = tmp_path / "backup"
    assert command("backup", str(file))[0] == 0
    assert b"explanation_embedding" not in file.read_bytes()
