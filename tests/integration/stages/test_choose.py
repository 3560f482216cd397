"""Which draft is chosen: on planted neurons, by an oracle that simulates from any explanation."""

import json

import numpy as np
import pytest
from sqlalchemy import text

from db import candidates, corpora, results
from db.candidates import CandidateRow
from neurogloss.config.run import RunConfig
from neurogloss.neurons.splits import Split
from neurogloss.subject.shape import read_shape
from tests.support.collected_run import claimed, do_online, make_run, work_through
from tests.support.planted_subject import DENSE, N, Oracle, serving, token_text
from worker.stages.choose import choose
from worker.stages.scored_records import scored_records

NEURONS = 6
CHEAT = "whatever is in the scored records"


class SimulatingOracle(Oracle):
    """Simulates a neuron that fires on the token which the explanation names."""

    scored: frozenset[tuple[str, ...]] = frozenset()
    """Texts in which CHEAT is right, and wrong in all others. Set by a test."""

    def choice(self, body):
        asked = body["messages"][-1]["content"]
        properties = body["response_format"]["json_schema"]["schema"]["properties"]
        explanation, _, *lines = asked.splitlines()
        tokens = tuple(line.partition(": ")[2].strip() for line in lines)
        looked_for = explanation.removeprefix("The neuron looks for: ")
        if looked_for.startswith(CHEAT):
            right = tokens in self.scored
            looked_for = looked_for.removeprefix(CHEAT).strip() if right else "nothing"
        values = [10 * (token == looked_for) for token in tokens]
        return {"message": {"content": json.dumps(dict(zip(properties, values, strict=True)))}}


@pytest.fixture
def collected(engine, planted, services, monkeypatch):
    """The id of a run of planted neurons whose records are there, and its shard of `choose`."""
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    tokens = np.random.default_rng(0).integers(0, N, (240, 16), dtype=np.int32)
    with serving(SimulatingOracle) as url:
        config = RunConfig.model_validate(
            {
                "name": "planted",
                "subject": {"model": planted},
                "corpus": {"excerpts": len(tokens), "excerpt_tokens": 16},
                "explainer": {"endpoint": "here", "candidates": 3},
                "simulator": {"endpoint": "here", "kind": "json"},
                "endpoints": {"here": {"base_url": url}},
            }
        )
        with engine.begin() as connection:
            corpora.save_vocabulary(connection, "v", [token_text(token) for token in range(N)])
        run_id = make_run(engine, config, read_shape(planted), tokens)
        work_through(engine, run_id)
        yield run_id, _shard(engine, run_id)


def _shard(engine, run_id):
    insert = text("""
        INSERT INTO shard (run_id, stage, layer, start, stop, weight, state)
        VALUES (:run, 'choose', 0, 0, :n, :n, 'ready') RETURNING id
    """)
    with engine.begin() as connection:
        return connection.scalar(insert, {"run": run_id, "n": N})


def chosen_among(engine, collected, drafts):
    """Return the explanations after the drafts of some neurons were judged."""
    run_id, shard_id = collected
    rows = [
        CandidateRow(run_id, 0, neuron, number, draft, "planted")
        for neuron, some in drafts.items()
        for number, draft in enumerate(some)
    ]
    with engine.begin() as connection:
        candidates.candidates.save(connection, rows)
    do_online(choose, engine, run_id, shard_id)
    with engine.begin() as connection:
        return results.explanation_texts(connection, run_id, 0, 0, N)


def looked_for(neuron):
    return token_text(neuron).strip()


def test_the_draft_that_is_right_is_chosen_of_every_neuron(engine, collected):
    wrong = [looked_for((neuron + 17) % N) for neuron in range(N)]
    drafts = {
        neuron: [wrong[neuron], "nothing", wrong[neuron]] for neuron in range(N) if neuron != DENSE
    }
    for neuron, some in drafts.items():
        some[neuron % 3] = looked_for(neuron)
    assert chosen_among(engine, collected, drafts) == {n: looked_for(n) for n in drafts}
    with engine.begin() as connection:
        found = candidates.candidate_scores.load(connection, collected[0], 0, 0, N)
    by_number = {(row.neuron, row.number): row for row in found}
    assert len(by_number) == 3 * len(drafts)
    for neuron in drafts:
        assert by_number[neuron, neuron % 3].score > 0.95
    nothing = [row for row in found if drafts[row.neuron][row.number] == "nothing"]
    assert {row.undefined_reason for row in nothing} == {"constant_simulation"}


def test_a_draft_that_knows_the_scored_records_alone_is_not_chosen(engine, collected):
    run_id, shard_id = collected
    shard = claimed(engine, run_id, shard_id)
    with engine.begin() as connection:
        scored = list(scored_records(connection, shard, 0, 0, NEURONS))
        calibration = list(scored_records(connection, shard, 0, 0, NEURONS, Split.CALIBRATION))
        connection.execute(
            text("UPDATE shard SET state = 'ready' WHERE id = :id"), {"id": shard_id}
        )
    texts = {
        tuple(looked_for(token) for token in tokens) for one in scored for tokens in one.tokens
    }
    held_back = {
        tuple(looked_for(token) for token in tokens) for one in calibration for tokens in one.tokens
    }
    SimulatingOracle.scored = frozenset(texts - held_back)
    drafts = {
        neuron: [f"{CHEAT} {looked_for(neuron)}", looked_for(neuron), "nothing"]
        for neuron in range(NEURONS)
    }
    assert chosen_among(engine, collected, drafts) == {n: looked_for(n) for n in drafts}
