"""Texts in the database: what is taken, who may work on it, what comes back."""

import numpy as np
import pytest
from sqlalchemy import text

from db import text_queue, texts
from db.records import NeuronRecordsRow, neuron_records
from db.results import ExplanationRow, ScoreRow, explanations, scores
from db.text_results import TextAblation, TokenLogit
from db.texts import Ablated, NewTextRequest, TextRefused
from tests.support.text_results import result_of

LEASE_S = 60


@pytest.fixture
def ask(engine, run_id):
    """Submits a text and returns its id."""

    def ask(**values):
        request = NewTextRequest(**{"run_id": run_id, "text": "The capital", **values})
        with engine.begin() as connection:
            return texts.submit(connection, request)

    return ask


@pytest.fixture
def load(engine):
    def load(request_id):
        with engine.begin() as connection:
            return texts.load_request(connection, request_id)

    return load


def claim(engine, worker="w", lease_s=LEASE_S):
    with engine.begin() as connection:
        return text_queue.claim(connection, worker, lease_s)


def test_a_text_is_stored_as_it_was_asked(ask, load, run_id):
    wanted = {
        "text": "\u202e<script> %s \\ \x1b",
        "target": " P",
        "versus": " L",
        "baseline": "zero",
        "ablate": [Ablated(0, 3), Ablated(0, 1, 2)],
        "requested_by": "me",
    }
    stored = load(ask(**wanted))
    assert {name: getattr(stored, name) for name in wanted} == wanted
    assert (stored.run, stored.state, stored.result, stored.seconds) == ("r", "waiting", None, None)


@pytest.mark.parametrize(
    ("values", "reason", "message"),
    [
        ({"text": ""}, "text", "text is empty"),
        ({"text": "x" * 20_001}, "text", "text has 20,001 characters, more than 20,000"),
        ({"text": "a\0"}, "text", "NUL"),
        ({"text": "a\ud800"}, "text", "half of a surrogate pair"),
        ({"target": ""}, "text", "target is empty"),
        ({"versus": "x" * 201}, "text", "versus has 201 characters"),
        ({"baseline": "median"}, "text", "neither of mean and zero"),
        ({"ablate": [Ablated(1, 0)]}, "ablate", "no neuron 1:0: the model has layers 0 to 0"),
        ({"ablate": [Ablated(0, 4)]}, "ablate", "no neuron 0:4"),
        ({"ablate": [Ablated(0, -1)]}, "ablate", "no neuron 0:-1"),
        ({"ablate": [Ablated(0, 0, 1024)]}, "ablate", "no position 1024"),
        ({"ablate": [Ablated(0, 0)] * 1001}, "ablate", "1,001 neurons, more than 1,000"),
        ({"run_id": 99}, "run", "no run with id 99"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(ask, values, reason, message):
    with pytest.raises(TextRefused, match=message) as refused:
        ask(**values)
    assert refused.value.reason == reason


def test_the_queue_is_bounded_and_so_is_the_rate_of_each_requester(ask, engine, monkeypatch):
    for _ in range(texts.MAX_WAITING):
        ask(requested_by="me")
    with pytest.raises(TextRefused, match="20 texts are waiting"):
        ask(requested_by="you")
    with engine.begin() as connection:
        connection.execute(text("UPDATE text_request SET state = 'done'"))
    monkeypatch.setattr(texts, "MAX_PER_MINUTE", texts.MAX_WAITING)
    with pytest.raises(TextRefused, match="more than 20 texts in a minute"):
        ask(requested_by="me")
    assert ask(requested_by="you")


def test_texts_are_taken_in_order_and_by_one_worker_each(ask, engine):
    first, second = ask(), ask()
    assert [claim(engine).request_id for _ in range(2)] == [first, second]
    assert claim(engine) is None
    with engine.begin() as connection:
        assert not text_queue.is_waiting(connection)
        assert texts.waiting(connection) == 2
        assert texts.waiting(connection, before=second) == 1


def test_a_text_whose_worker_died_is_taken_again_and_the_dead_one_stores_nothing(ask, engine, load):
    request_id = ask()
    late = claim(engine, lease_s=-1)
    held = claim(engine, "other")
    assert (held.request_id, held.token) == (request_id, late.token + 1)
    with engine.begin() as connection:
        assert not text_queue.finish(connection, late, result_of())
        assert not text_queue.fail(connection, late, "error", "too late")
        text_queue.renew(connection, late, -1)  # of which nothing comes
    assert claim(engine) is None
    with engine.begin() as connection:
        assert text_queue.finish(connection, held, result_of())
    assert load(request_id).state == "done"


def test_a_text_that_kills_its_workers_fails(ask, engine, load):
    deadly, other = ask(), ask()
    for _ in range(text_queue.MAX_ATTEMPTS):
        assert claim(engine, lease_s=-1).request_id == deadly
    assert claim(engine).request_id == other
    stored = load(deadly)
    assert (stored.state, stored.error_class) == ("failed", "died")


def test_a_worker_that_stops_gives_its_text_back(ask, engine):
    request_id = ask()
    for _ in range(2 * text_queue.MAX_ATTEMPTS):
        held = claim(engine)
        assert held.request_id == request_id
        with engine.begin() as connection:
            assert text_queue.release(connection, held)


def test_a_withdrawn_text_is_not_done(ask, engine, load):
    ask()
    held = claim(engine)
    with engine.begin() as connection:
        assert texts.withdraw(connection, held.request_id)
        assert not texts.withdraw(connection, held.request_id)
        assert not text_queue.finish(connection, held, result_of())
    assert load(held.request_id).error_class == "cancelled"
    assert claim(engine) is None


@pytest.fixture
def known(engine, run_id):
    """Neuron 0:1 has an explanation, a score and records."""
    row = NeuronRecordsRow(
        run_id=run_id, layer=0, neuron=1, excerpts=[0], activations=np.ones((1, 2), np.float16),
        top_records=[0], random_records=[], bucket_records=[], buckets=[],
        quantile_boundaries=[0.25, 0.5, 2.0, 3.0], max_activation=4.0, mean=0.1, variance=1.0,
        skewness=0.0, kurtosis=0.0, n_tokens=2, undefined_reason=None,
    )  # fmt: skip
    score = ScoreRow(
        run_id=run_id, layer=0, neuron=1, score=0.75, score_top=None, score_random=None,
        rsquared=None, absolute_dev_explained=None, undefined_reason=None,
    )  # fmt: skip
    with engine.begin() as connection:
        neuron_records.save(connection, [row])
        explanations.save(connection, [ExplanationRow(run_id, 0, 1, "capitals", "m", None)])
        scores.save(connection, [score])


def test_a_result_comes_back_with_what_the_run_knows(ask, engine, load, known):
    ask()
    versus, ablation = TokenLogit("\0", 8, 1.0, 0.125), TextAblation(0.5, 0.1)
    with engine.begin() as connection:
        held = text_queue.claim(connection, "w", LEASE_S)
        stored = result_of(versus=versus, ablation=ablation)
        assert text_queue.finish(connection, held, stored)
    found = load(held.request_id)
    assert found.seconds >= 0
    result = found.result
    assert (result.versus.text, result.ablation) == ("\ufffd", ablation)
    assert (result.target, result.sums, result.tokens) == (
        stored.target,
        stored.sums,
        stored.tokens,
    )
    assert result.accounted_by_explained == 0.75
    (neuron,) = result.neurons
    np.testing.assert_array_equal(neuron.activations, stored.neurons[0].activations)
    about = (neuron.quantile, neuron.explanation, neuron.score)
    assert about == (0.99, "capitals", 0.75)
    component, embedding = result.components
    about = (component.quantile, component.explanation, component.score)
    assert about == (0.9, "capitals", 0.75)
    assert (embedding.index, embedding.explanation) == ("token", None)
    assert [len(found.result.as_json(top)["components"]) for top in (0, 1)] == [2, 1]


def test_a_neuron_of_which_the_run_knows_nothing_has_its_effects(ask, engine, load):
    ask()
    with engine.begin() as connection:
        held = text_queue.claim(connection, "w", LEASE_S)
        assert text_queue.finish(connection, held, result_of())
    (neuron,) = load(held.request_id).result.neurons
    known = (neuron.quantile, neuron.explanation, neuron.score)
    assert (neuron.direct_effect, *known) == (1.5, None, None, None)


def test_requests_of_a_run_are_listed_the_newest_first(ask, engine, run_id):
    asked = [ask(text=word) for word in ("one", "two", "three")]
    with engine.begin() as connection:
        found = texts.recent_requests(connection, run_id, 2)
        with pytest.raises(LookupError):
            texts.load_request(connection, 99)
    assert [request.id for request in found] == asked[:0:-1]
