"""A text on a run, from its submission to its result."""

import math
import re
import threading
import time
from functools import partial

import numpy as np
import pytest
from sqlalchemy import text as sql

from db import text_queue, texts
from db.session import transaction
from db.texts import Ablated, NewTextRequest
from neurogloss.errors import CannotCollect
from tests.support.text_results import result_of
from worker.stages import text as stage
from worker.stages.text import text as answer
from worker.text_queue import TextQueue

TEXT = "The following is a list of the modules in the standard"
LAYERS, HEADS = 6, 4  # of the demo model; the run explains 12 neurons of layers 0 and 3


@pytest.fixture
def queue(whole):
    return TextQueue(whole, "here", 60, threading.Event())


@pytest.fixture
def ask(whole, queue):
    """Submits a text, answers it here, and returns how it ended."""

    def ask(asked=TEXT, **values):
        with transaction(whole) as connection:
            request = NewTextRequest(run_id=1, text=asked, **values)
            request_id = texts.submit(connection, request)
        with queue.before_shard(answer), transaction(whole) as connection:
            return texts.load_request(connection, request_id)

    return ask


def explained_neurons(engine):
    with engine.connect() as connection:
        places = sql("SELECT layer, neuron FROM explanation ORDER BY 1, 2")
        return [tuple(row) for row in connection.execute(places)]


def test_the_table_is_complete(whole, ask):
    found = ask()
    assert (found.state, found.message) == ("done", None)
    result, explained = found.result, explained_neurons(whole)
    assert len(explained) == 24
    by_kind = {}
    for component in result.components:
        by_kind.setdefault(component.kind, []).append(component)
    assert {kind: len(found) for kind, found in by_kind.items()} == {
        "neuron": len(explained) * len(result.tokens),
        "head": LAYERS * HEADS,
        "embedding": 2,
        "bias": 2 * LAYERS + 1,
        "mlp_rest": LAYERS,
    }
    effects = [component.direct_effect for component in result.components]
    assert sum(effects) == pytest.approx(result.logit_difference, abs=1e-5 * np.abs(effects).sum())
    at_last = [c for c in by_kind["neuron"] if c.position == result.position]
    explained_sum = sum(component.direct_effect for component in at_last)
    assert result.sum_of("explained").direct_effect == pytest.approx(explained_sum)
    share = explained_sum / result.logit_difference
    assert result.accounted_by_explained == pytest.approx(share)
    sums = sum(total.direct_effect for total in result.sums)
    assert sums == pytest.approx(result.logit_difference, abs=1e-4)
    sizes = [component.size for component in result.components]
    assert sizes == sorted(sizes, reverse=True)


def test_neurons_have_what_the_run_knows_and_sum_their_components(whole, ask):
    result = ask().result
    assert sorted((n.layer, n.neuron) for n in result.neurons) == explained_neurons(whole)
    for neuron in result.neurons:
        own = [
            component
            for component in result.components
            if (component.kind, component.layer, component.index)
            == ("neuron", neuron.layer, neuron.neuron)
        ]
        total = sum(component.estimated_effect for component in own)
        assert neuron.estimated_effect == pytest.approx(total, abs=1e-5)
        at = max(own, key=lambda component: abs(component.estimated_effect))
        assert neuron.peak == at.position
        activations = {component.position: component.activation for component in own}
        on_text = [activations[position] for position in range(len(result.tokens))]
        np.testing.assert_allclose(neuron.activations, on_text, rtol=1e-3, atol=1e-3)
        assert neuron.max_activation == pytest.approx(max(on_text))
        assert neuron.explanation == own[0].explanation is not None
        assert neuron.quantile in (0, 0.5, 0.9, 0.99, 0.999)


def test_the_baseline_is_the_mean_on_the_corpus_or_zero(whole, ask):
    query = sql("SELECT layer, neuron, mean FROM neuron_records")
    with whole.connect() as connection:
        means = {(layer, neuron): mean for layer, neuron, mean in connection.execute(query)}
    of_mean, of_zero = ask().result, ask(baseline="zero").result
    zero = neurons_at_positions(of_zero)
    for place, component in neurons_at_positions(of_mean).items():
        activation = component.activation
        if abs(activation) > 1e-3:
            gradient = zero[place].estimated_effect / activation
            expected = (activation - means[place[:2]]) * gradient
            assert component.estimated_effect == pytest.approx(expected, rel=1e-4, abs=1e-6)
    for result, has_all in ((of_mean, False), (of_zero, True)):
        rests = [c.estimated_effect for c in result.components if c.kind == "mlp_rest"]
        assert [rest is not None for rest in rests] == [has_all] * LAYERS


def neurons_at_positions(result):
    return {(c.layer, c.index, c.position): c for c in result.components if c.kind == "neuron"}


def test_target_and_versus_are_tokens_and_the_default_is_the_likeliest(ask):
    likeliest = ask().result
    named = ask(target=likeliest.target.text, versus=" the").result
    assert named.target == likeliest.target
    assert named.versus.text == " the"
    difference = named.target.logit - named.versus.logit
    assert named.logit_difference == pytest.approx(difference, abs=1e-5)


def test_ablation_at_a_position_and_at_all(whole, ask):
    (place, other) = explained_neurons(whole)[:2]
    nothing = ask().result
    assert nothing.ablation is None
    at_all = ask(ablate=[Ablated(*place)]).result
    at_last = ask(ablate=[Ablated(*place, nothing.position)]).result
    both = ask(ablate=[Ablated(*place), Ablated(*other)], baseline="zero").result
    changed = {result.ablation.logit_difference for result in (at_all, at_last, both)}
    assert len(changed) == 3
    assert nothing.logit_difference not in changed
    assert 0 < at_all.ablation.probability < 1


@pytest.mark.parametrize(
    ("values", "error_class", "message"),
    [
        ({"asked": "a " * 1024}, "text", r"the text has \d,\d{3} tokens, more than 128"),
        ({"target": " module standard"}, "target", "target ' module standard' is 2 tokens, not"),
        ({"versus": " qwx"}, "target", r"versus ' qwx' is \d tokens, not one: ' ', 'q', "),
        ({"ablate": [Ablated(1, 7)]}, "ablate", "neuron 1:7 has no mean: ask with the baseline"),
        ({"ablate": [Ablated(1, 7, 99)], "baseline": "zero"}, "ablate", "no position 99"),
    ],
)
def test_what_cannot_be_answered_is_said(ask, values, error_class, message):
    found = ask(**values)
    assert (found.state, found.error_class, found.result) == ("failed", error_class, None)
    assert re.search(message, found.message)


def test_without_means_only_the_baseline_zero_is_compared_with(whole, ask):
    with whole.begin() as connection:
        connection.execute(sql("UPDATE neuron_records SET mean = NULL"))
    assert ask().error_class == "baseline"
    assert ask(baseline="zero").state == "done"


def test_a_run_without_explanations_has_everything_in_the_rest(whole, ask):
    with whole.begin() as connection:
        connection.execute(sql("DELETE FROM explanation"))
    result = ask().result
    assert (result.neurons, result.accounted_by_explained) == ([], 0.0)
    assert {c.kind for c in result.components} == {"head", "embedding", "bias", "mlp_rest"}


def test_only_the_largest_are_stored_and_the_rest_is_summed(whole, ask, monkeypatch):
    complete = ask().result
    monkeypatch.setattr("worker.stages.text_ranking.LARGEST", 3)
    result = ask().result
    assert len(result.neurons) <= 6
    listed = [c for c in result.components if c.kind == "neuron"]
    assert len(listed) <= 9
    assert result.sums == complete.sums
    for found in (result, complete):
        assert sum(c.direct_effect for c in found.components) == pytest.approx(
            complete.logit_difference, abs=1e-4
        )
    estimates = [
        sum(c.estimated_effect for c in found.components if c.kind in ("neuron", "neuron_rest"))
        for found in (result, complete)
    ]
    assert estimates[0] == pytest.approx(estimates[1], abs=1e-4)
    largest = max(abs(n.direct_effect) for n in complete.neurons)
    assert largest in [abs(n.direct_effect) for n in result.neurons]


def test_a_defect_fails_the_text_and_not_the_worker(whole, ask, monkeypatch, caplog):
    monkeypatch.setattr(stage, "load_text_neurons", lambda *_: 1 / 0)
    found = ask("a secret")
    assert (found.state, found.error_class) == ("failed", "error")
    assert found.message == "ZeroDivisionError: the worker's log has more"
    assert "a secret" not in caplog.text
    monkeypatch.undo()
    assert ask().state == "done"


def test_a_result_that_cannot_be_stored_fails_too(whole, queue):
    with transaction(whole) as connection:
        request_id = texts.submit(connection, NewTextRequest(run_id=1, text=TEXT))
    broken = result_of(logit_difference=math.nan)  # which JSON in Postgres does not hold
    with queue.before_shard(lambda *_: broken), transaction(whole) as connection:
        assert texts.load_request(connection, request_id).error_class == "error"


def test_a_model_that_cannot_be_read_is_said(ask, monkeypatch):
    def missing(*_):
        raise CannotCollect("subject.model = 'x' cannot be loaded")

    monkeypatch.setattr(stage, "load_once", missing)
    assert ask().error_class == "collect"


def test_an_idle_worker_finds_a_text_by_itself_and_waits_for_none_that_has_the_model(
    whole, queue, monkeypatch
):
    monkeypatch.setattr("worker.text_queue.LOOK_S", 0.02)
    submit = partial(NewTextRequest, run_id=1, text=TEXT)
    with queue.before_shard(answer):  # a shard is under way
        queue.watch(answer)
        with transaction(whole) as connection:
            request_id = texts.submit(connection, submit())
        time.sleep(0.3)
        with transaction(whole) as connection:
            assert texts.load_request(connection, request_id).state == "waiting"
    deadline = time.monotonic() + 60
    while _is_open(whole, request_id):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with transaction(whole) as connection:
        assert texts.load_request(connection, request_id).state == "done"
        assert not text_queue.is_waiting(connection)


def _is_open(engine, request_id):
    with transaction(engine) as connection:
        return texts.load_request(connection, request_id).is_open
