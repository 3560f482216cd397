"""Revision on planted neurons, by an oracle that writes sentences and learns from them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from db import candidates, corpora, results
from db.candidates import CandidateRow
from neurogloss.config.run import RunConfig
from neurogloss.neurons.illustration import FIRES, SILENT
from neurogloss.subject.shape import read_shape
from tests.support.collected_run import do_online, make_run, work_through
from tests.support.planted_subject import N, Oracle, serving, token_text
from worker.stages.illustrate import illustrate
from worker.stages.observe import observe
from worker.stages.revise import revise

SENTENCES = 8
STAGES = (illustrate, observe, revise)
GARBAGE = "garbage"  # an explanation of which the oracle makes no sense


def word(neuron):
    return token_text(neuron % N).strip()


class RevisingOracle(Oracle):
    """Takes an explanation for a list of tokens: writes them, simulates by them, revises them."""

    revised = staticmethod(lambda draft, fired: " ".join(sorted(fired)))
    """What a revision is, by the draft and the tokens on which the neuron fired. Set by tests."""
    asked: list[str]

    def choice(self, body):
        system, asked = body["messages"][0]["content"], body["messages"][-1]["content"]
        self.asked.append(asked)
        if "write sentences" in system:
            said = self._sentences(asked.removeprefix("The neuron is thought to look for: "))
        elif "sentences that were written to try it" in system:
            said = self._revision(asked)
        else:
            said = self._simulation(asked, body)
        return {"message": {"content": said}}

    def _sentences(self, draft):
        if draft == GARBAGE:
            return "What would a sentence be?"
        tokens = draft.split()
        n = SENTENCES // 2
        # Those for revising and those for judging have every token of the draft alike.
        firing = {str(i): f"{word(i)}x {tokens[i // 2 % len(tokens)]}" for i in range(n)}
        silent = {str(i): " ".join(self._others(tokens, i)) for i in range(n)}
        return json.dumps({FIRES: firing, SILENT: silent})

    def _others(self, tokens, place):
        others = [word(n) for n in range(N - 1) if word(n) not in tokens]
        return others[3 * place : 3 * place + 3]

    def _revision(self, asked):
        draft = re.search(r"^Explanation: (.*)$", asked, re.MULTILINE)[1]
        _, _, seen = asked.partition("Explanation: ")
        fired = re.findall(r"^ (w\d\d)\t[1-9]", seen, re.MULTILINE)
        return type(self).revised(draft, set(fired))

    def _simulation(self, asked, body):
        properties = body["response_format"]["json_schema"]["schema"]["properties"]
        explanation, _, *lines = asked.splitlines()
        looked_for = explanation.removeprefix("The neuron looks for: ").split()
        tokens = [line.partition(": ")[2].strip() for line in lines]
        values = [10 * (token in looked_for) for token in tokens]
        return json.dumps(dict(zip(properties, values, strict=True)))


def save_tokenizer(folder):
    """Give a planted subject a tokenizer that reads its words and leaves out all else."""
    vocabulary = {token_text(token): token for token in range(N)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=token_text(0)))
    tokenizer.normalizer = normalizers.Prepend(" ")
    pattern = Regex(r" w\d\d(?!x)")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, "removed", invert=True)
    tokenizer.save(str(Path(folder) / "tokenizer.json"))


@pytest.fixture
def oracle(monkeypatch):
    monkeypatch.setattr(RevisingOracle, "asked", [], raising=False)
    with serving(RevisingOracle) as url:
        yield url


@pytest.fixture
def collected(engine, planted, oracle, services, monkeypatch):
    """The id of a run of planted neurons whose records are there, with its shards of STAGES."""
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    save_tokenizer(planted)
    tokens = np.random.default_rng(0).integers(0, N, (240, 16), dtype=np.int32)
    config = RunConfig.model_validate(
        {
            "name": "planted",
            "subject": {"model": planted},
            "corpus": {"excerpts": len(tokens), "excerpt_tokens": 16},
            "explainer": {"endpoint": "here", "revise": True, "sentences": SENTENCES},
            "simulator": {"endpoint": "here", "kind": "json"},
            "endpoints": {"here": {"base_url": oracle}},
        }
    )
    with engine.begin() as connection:
        corpora.save_vocabulary(connection, "v", [token_text(token) for token in range(N)])
    run_id = make_run(engine, config, read_shape(planted), tokens)
    work_through(engine, run_id)
    insert = text("""
        INSERT INTO shard (run_id, stage, layer, start, stop, weight, state)
        VALUES (:run, :stage, 0, 0, :n, :n, 'ready') RETURNING id
    """)
    with engine.begin() as connection:
        ids = {
            stage: connection.scalar(insert, {"run": run_id, "stage": stage.__name__, "n": N})
            for stage in STAGES
        }
    return run_id, ids


def explained(engine, collected, drafts):
    """Return the explanations that come of the drafts of some neurons."""
    run_id, ids = collected
    rows = [
        CandidateRow(run_id, 0, neuron, 0, draft, "planted", b"d")
        for neuron, draft in drafts.items()
    ]
    with engine.begin() as connection:
        candidates.candidates.save(connection, rows)
    for stage, shard_id in ids.items():
        do_online(stage, engine, run_id, shard_id)
    with engine.begin() as connection:
        return results.explanation_texts(connection, run_id, 0, 0, N)


def stored(engine, collected, what):
    with engine.begin() as connection:
        return what.load(connection, collected[0], 0, 0, N)


def again(engine, collected):
    """Open the shards once more, as `retry` does."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE shard SET state = 'ready' WHERE stage <> 'collect'"))
    return explained(engine, collected, {})


def revise_to(monkeypatch, revised):
    monkeypatch.setattr(RevisingOracle, "revised", staticmethod(revised))


def test_an_explanation_that_says_too_much_is_revised_to_the_right_one(engine, collected):
    drafts = {neuron: f"{word(neuron)} {word(neuron + 17)}" for neuron in range(N - 1)}
    assert explained(engine, collected, drafts) == {neuron: word(neuron) for neuron in drafts}
    scores = stored(engine, collected, candidates.candidate_scores)
    assert [row.number for row in scores] == [0, 1] * len(drafts)
    for draft, revision in zip(scores[::2], scores[1::2], strict=True):
        assert {draft.stage, revision.stage} == {"revise"}
        assert revision.score > draft.score + 0.1 > 0.5


def test_a_right_explanation_is_kept_against_a_worse_revision(engine, collected, monkeypatch):
    revise_to(monkeypatch, lambda draft, fired: f"{draft} {word(int(draft[1:]) + 17)}")
    drafts = {neuron: word(neuron) for neuron in range(N - 1)}
    assert explained(engine, collected, drafts) == drafts
    found = stored(engine, collected, candidates.candidates)
    assert [row.text for row in found if row.number == 1] == [
        f"{word(neuron)} {word(neuron + 17)}" for neuron in drafts
    ]


def test_of_equals_the_draft_is_kept(engine, collected, monkeypatch):
    revise_to(monkeypatch, lambda draft, fired: f"{draft} nothing")
    assert explained(engine, collected, {0: word(0), 1: "nothing"}) == {0: word(0), 1: "nothing"}
    scores = stored(engine, collected, candidates.candidate_scores)
    assert [row.undefined_reason for row in scores] == [None] * 2 + ["constant_simulation"] * 2
    with engine.begin() as connection:
        kept = connection.execute(text("SELECT call, explainer FROM explanation")).all()
    assert {(bytes(call), explainer) for call, explainer in kept} == {(b"d", "planted")}


def test_sentences_for_judging_are_simulated_and_never_shown(engine, collected):
    explained(engine, collected, {3: f"{word(3)} {word(20)}"})
    found = stored(engine, collected, candidates.sentences)
    assert [row.is_expected for row in found] == [True] * 4 + [False] * 4
    assert [row.for_judging for row in found] == [False, True] * 4
    (shown,) = [asked for asked in RevisingOracle.asked if "Explanation: " in asked]
    assert shown.count("\nSentence ") == SENTENCES // 2
    assert shown.count("the neuron should fire, and its highest activation is 10") == 1
    assert shown.count("the neuron should fire, and its highest activation is 0") == 1
    simulated = [asked for asked in RevisingOracle.asked if "\nTokens:\n" in asked]
    for row in found[4:]:  # of several words each, so that they are known again
        read = " ".join(row.text.split())
        lines = "\n".join(f"{n}: {' ' + token}" for n, token in enumerate(read.split()))
        assert (f"Text:  {read}" in shown) == (not row.for_judging)
        times = sum(asked.endswith(f"Tokens:\n{lines}") for asked in simulated)
        assert times == (2 if row.for_judging else 0)


def test_a_sentence_that_yields_no_tokens_is_left_out(engine, collected):
    draft = f"{word(2)} words"
    assert explained(engine, collected, {2: draft}) == {2: draft}
    found = stored(engine, collected, candidates.sentences)
    assert sum(len(row.tokens) == len(row.activations) == 0 for row in found) == 2
    assert all(len(row.tokens) == len(row.activations) for row in found)
    (shown,) = [asked for asked in RevisingOracle.asked if "Explanation: " in asked]
    assert shown.count("\nSentence ") == SENTENCES // 2 - 1


@pytest.mark.parametrize(
    ("stage", "draft", "revision"), [("illustrate", GARBAGE, "x"), ("revise", word(1), " .")]
)
def test_a_neuron_fails_by_itself_and_its_retry_asks_for_what_is_missing_alone(
    engine, collected, monkeypatch, stage, draft, revision
):
    revise_to(
        monkeypatch,
        lambda shown, fired: revision if shown == draft else " ".join(sorted(fired)),
    )
    drafts = {0: f"{word(0)} {word(20)}", 1: draft}
    assert explained(engine, collected, drafts) == {0: word(0)}
    query = "SELECT stage, neuron, failure_class FROM failure"
    with engine.begin() as connection:
        assert connection.execute(text(query)).all() == [(stage, 1, "malformed")]
        connection.execute(text("DELETE FROM failure"))
        connection.execute(
            text("INSERT INTO retry VALUES (:run, :stage, 0, 1, 1)"),
            {"run": collected[0], "stage": stage},
        )
        connection.execute(
            text("UPDATE candidate SET text = :text WHERE text = :garbage"),
            {"text": word(1), "garbage": GARBAGE},
        )
    revise_to(monkeypatch, lambda shown, fired: " ".join(sorted(fired)))
    RevisingOracle.asked.clear()
    assert again(engine, collected) == {0: word(0), 1: word(1)}
    assert RevisingOracle.asked
    assert not any(word(20) in asked for asked in RevisingOracle.asked if "look for: " in asked)
    RevisingOracle.asked.clear()
    assert again(engine, collected) == {0: word(0), 1: word(1)}
    assert RevisingOracle.asked == []
