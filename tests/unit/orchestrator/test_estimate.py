import dataclasses
from itertools import pairwise

import pytest

from db.stage_spend import StageSpend
from neurogloss.config.run import RunConfig
from neurogloss.errors import InputError
from neurogloss.llm.calls import Call
from neurogloss.neurons.records import ActivationRecord
from neurogloss.neurons.simulators.kinds import SimulatorChoice, simulator_of
from neurogloss.subject import files
from neurogloss.subject.shape import public_shape, read_shape
from neurogloss.subject.tokenizer import read_tokenizer
from orchestrator.cli.terminal.estimate_tables import notes
from orchestrator.corpus import sources
from orchestrator.estimate import token_counts
from orchestrator.estimate.estimate import make_estimate
from orchestrator.estimate.measured import Measured
from orchestrator.estimate.sample import (
    Sample,
    SampleNeuron,
    sample_of_corpus,
    sample_without_run,
)
from orchestrator.estimate.token_counts import TokenCounter, find_counter
from tests.support.corpus import small_corpus

WORDS = TokenCounter("words", lambda text: len(text.split()))
RECORD = tuple(f"t{n}" for n in range(8))
NEURON = SampleNeuron(
    [ActivationRecord(RECORD, (0.0,) * 7 + (3.0,))], [list(RECORD)] * 4, "names of rivers"
)
EXPLAINER = {"endpoint": "e", "model": "m"}
SAMPLE = Sample("here", [NEURON, dataclasses.replace(NEURON, explanation="heat")])


def config(**changes):
    endpoint = {
        "base_url": "http://localhost/v1",
        "prices": {"m": {"input": 1.0, "output": 4.0, "cached_input": 0.1}},
        **changes.pop("endpoint", {}),
    }
    values = {
        "name": "x",
        "explainer": EXPLAINER,
        "simulator": {"endpoint": "e", "model": "m"},
        "endpoints": {"e": endpoint},
    }
    return RunConfig.model_validate({**values, **changes})


def estimate(run=None, kind="json", counter=WORDS, **options):
    return make_estimate(run or config(), 1000, SAMPLE, counter, SimulatorChoice(kind), **options)


def stage(made, name):
    return next(stage for stage in made.stages if stage.stage == name)


@pytest.mark.parametrize(
    ("kind", "calls", "completion"),
    [
        ("json", 4, 4 * (8 * 4 + 2)),
        ("chat_logprobs", 4, 4 * (8 * 4 + 2)),
        ("echo_logprobs", 4, 4),
        ("token_by_token", 4 * 8, 4 * 8),
    ],
)
def test_calls_and_what_they_answer_are_those_of_the_kind(kind, calls, completion):
    made = stage(estimate(kind=kind), "simulate")
    assert (made.calls, made.completion_tokens) == (1000 * calls, 1000 * completion)


def test_several_records_a_call_save_prompts_and_nothing_else():
    def with_records(n):
        simulator = {"kind": "json", "endpoint": "e", "model": "m", "records_per_call": n}
        return stage(estimate(config(simulator=simulator)), "simulate")

    found = [with_records(n) for n in (1, 2, 4)]
    assert [made.calls for made in found] == [4000, 2000, 1000]
    assert all(a.prompt_tokens > b.prompt_tokens for a, b in pairwise(found))
    assert found[0].completion_tokens == pytest.approx(found[2].completion_tokens, rel=0.1)


def test_the_cost_is_that_of_the_prices_and_batches_are_half_of_it():
    made = stage(estimate(), "simulate")
    assert made.usd == pytest.approx((made.prompt_tokens + 4 * made.completion_tokens) / 1e6)
    assert made.usd_in_batches == pytest.approx(made.usd / 2)
    assert made.cached_tokens == 0
    assert made.usd_with_cache == made.usd


def test_prefixes_of_1024_tokens_are_cached_in_steps_of_128():
    characters = TokenCounter("characters", len)
    made = stage(estimate(counter=characters), "simulate")
    assert 0.5 * made.prompt_tokens < made.cached_tokens < made.prompt_tokens
    assert made.usd_with_cache < made.usd
    assert made.cached_tokens * len(SAMPLE.neurons) / 1000 % 128 == 0


def test_without_a_price_there_is_no_cost():
    made = estimate(config(endpoint={"prices": {}}))
    assert {s.usd for s in made.stages} == {s.usd_in_batches for s in made.stages} == {None}
    assert all(s.prompt_tokens > 0 for s in made.stages)


@pytest.mark.parametrize(
    ("limits", "bound"),
    [
        ({"requests_per_minute": 10}, "requests_per_minute"),
        ({"tokens_per_minute": 10}, "tokens_per_minute"),
        ({"max_in_flight": 1}, "max_in_flight"),
    ],
)
def test_what_bounds_the_run_is_named(limits, bound):
    made = estimate(config(endpoint=limits))
    assert stage(made, "simulate").bound_by == bound
    assert max(made.seconds(), key=made.seconds().get) == bound


def test_time_is_calls_by_the_limit_and_latency_by_the_slots():
    made = estimate(
        config(endpoint={"requests_per_minute": 60, "max_in_flight": 10}), latency_s=2.0
    )
    assert made.seconds()["requests_per_minute"] == 5000
    assert made.seconds()["max_in_flight"] == pytest.approx(5000 * 2.0 / 10)


def test_a_run_without_calls_costs_nothing():
    lookup = {"kind": "lookup"}
    assert estimate(config(explainer=lookup, simulator=lookup)).stages == []


def test_the_corpus_gives_a_sample_where_there_is_no_run():
    run = config(subject={"model": "demo"}, corpus={"source": small_corpus()})
    found = sample_of_corpus(run, read_shape("demo").vocab_size)
    assert len(found.neurons) == 12
    for neuron in found.neurons:
        assert len(neuron.shown) == 5
        assert [len(record) for record in neuron.scored] == [64] * 10
        assert max(neuron.shown[0].activations) > 0


def test_a_small_vocabulary_is_not_taken_for_that_of_a_language_model():
    counter = find_counter(read_tokenizer("demo"))
    assert counter.method.startswith(("a rule", "tiktoken"))
    assert counter.count("a" * 40) > 0


def test_further_scorers_ask_once_about_each_neuron():
    run = config(scoring={"also": ["detection", "fuzzing"]}, scorer={"endpoint": "e", "model": "m"})
    made = stage(estimate(run), "score")
    assert (made.kind, made.calls) == ("detection+fuzzing", 2000)
    assert made.completion_tokens == 2000 * (4 * 4 + 2)
    assert made.usd > 0
    assert [stage.stage for stage in estimate().stages] == ["explain", "simulate"]


def test_an_explainer_of_tokens_is_asked_about_tokens():
    run = config(explainer={"kind": "token_space", "endpoint": "e", "model": "m"})
    made, plain = stage(estimate(run), "explain"), stage(estimate(), "explain")
    assert (made.kind, made.calls, plain.calls) == ("token_space", 1000, 1000)
    assert 0 < made.prompt_tokens < plain.prompt_tokens


def test_drafts_are_asked_for_and_judged():
    plain, several = estimate(), estimate(config(explainer=EXPLAINER | {"candidates": 3}))
    assert [made.stage for made in several.stages] == ["explain", "choose", "simulate"]
    assert stage(several, "explain").calls == 3 * stage(plain, "explain").calls
    simulated = stage(plain, "simulate")
    for name in ("calls", "prompt_tokens", "completion_tokens"):
        assert getattr(stage(several, "choose"), name) == 3 * getattr(simulated, name)
    assert stage(several, "simulate") == simulated


def test_calibration_doubles_the_simulations_unless_they_were_judged_by():
    scoring = {"calibration": ["linear"]}
    simulated = stage(estimate(), "simulate").calls
    assert stage(estimate(config(scoring=scoring)), "simulate").calls == 2 * simulated
    judged = config(scoring=scoring, explainer=EXPLAINER | {"candidates": 2})
    assert stage(estimate(judged), "simulate").calls == simulated


def test_sentences_and_revisions_are_asked_for_and_judged():
    plain = estimate()
    made = estimate(config(explainer=EXPLAINER | {"revise": True, "sentences": 8}))
    stages = [found.stage for found in made.stages]
    assert stages == ["explain", "illustrate", "revise", "revise", "simulate"]
    _, illustrated, revised, judged, simulated = made.stages
    assert illustrated.calls == revised.calls == plain.n_neurons
    assert simulated == stage(plain, "simulate")
    assert judged.calls == 2 * simulated.calls + 2 * 4 * plain.n_neurons
    more = estimate(config(explainer=EXPLAINER | {"revise": True, "sentences": 16}))
    assert more.stages[2].prompt_tokens > revised.prompt_tokens
    assert more.stages[1].completion_tokens == 2 * illustrated.completion_tokens
    with_drafts = {"revise": True, "sentences": 8, "candidates": 2}
    chosen = estimate(config(explainer=EXPLAINER | with_drafts)).stages[4]
    assert chosen.calls == judged.calls - simulated.calls  # the draft was judged in `choose`


# Prompts of our own examples, and their tokens by o200k_base, measured once with tiktoken 0.12.
MEASURED = [
    pytest.param("json", 1822, id="json"),
    pytest.param("echo_logprobs", 1739, id="echo"),
    pytest.param("token_by_token", 565, id="token by token"),
]


@pytest.mark.parametrize(("kind", "tokens"), MEASURED)
def test_without_a_tokenizer_a_rule_counts_nearly_what_a_model_counts(kind, tokens):
    (request, *_) = simulator_of(SimulatorChoice(kind), 1).ask("rivers", [[" We", " crossed"]])
    call = Call("simulate", "m", {"model": "m", **request.body}, request.path)
    parts = token_counts.TokenCounter("a rule", token_counts.count_by_rule).parts(call)
    examples = sum(n for _, n in (parts[:-1] or parts))
    assert examples == pytest.approx(tokens, rel=0.05)


def test_a_public_model_is_estimated_without_a_hub(monkeypatch):
    monkeypatch.setattr(files, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(files, "hf_hub_download", unreachable)
    run = config(subject={"model": "openai-community/gpt2-xl"}, corpus={"source": "someone/texts"})
    shape = public_shape(run.subject.model)
    assert (shape.n_layers, shape.neurons_per_layer) == (48, 6400)
    found = sample_without_run(run, shape.vocab_size)
    assert "gpt2-xl is not on this machine" in found.source
    assert [len(record) for record in found.neurons[0].scored] == [64] * 10


def unreachable(*_):
    raise AssertionError("the hub is asked")


def test_a_corpus_of_the_hub_that_cannot_be_read_is_replaced_and_named(monkeypatch):
    def refuse(*_):
        raise InputError("it needs the package datasets")

    monkeypatch.setattr(sources, "_hub", refuse)
    run = config(subject={"model": "demo"}, corpus={"source": "someone/texts"})
    found = sample_without_run(run, read_shape("demo").vocab_size)
    assert found.source.endswith("because it needs the package datasets")


def test_a_corpus_of_this_machine_that_is_wrong_is_refused(tmp_path):
    run = config(subject={"model": "demo"}, corpus={"source": str(tmp_path)})
    with pytest.raises(InputError, match="contains no"):
        sample_without_run(run, read_shape("demo").vocab_size)


def test_a_budget_that_does_not_cover_the_run_is_named():
    run = config(budget={"usd": 5.0})
    values = {"sample": "s", "tokens_counted_by": "t", "stages": [], "total": {"usd": 50.0}}
    assert any("budget.usd = 5.00 covers 10% of it" in note for note in notes(run, values))


def test_a_control_is_estimated_for_at_least_30_neurons_and_missed_where_there_is_none():
    controlled = config(scoring={"control": 0.05})
    made = stage(estimate(controlled), "control")
    assert (made.calls, made.kind) == (50 * 4, "json")
    few = stage(make_estimate(controlled, 40, SAMPLE, WORDS, SimulatorChoice("json")), "control")
    assert few.calls == 30 * 4
    values = {"sample": "", "tokens_counted_by": "", "total": {"usd": 1.0}, "stages": []}
    assert not any("No control" in note for note in notes(controlled, values))
    assert any("add control = 0.01" in note.lower() for note in notes(config(), values))


def spent(stage_name, n, *counts):
    return StageSpend(stage_name, "m", n, *counts)


def test_what_a_run_like_it_has_asked_takes_the_place_of_what_was_counted():
    rows = (spent("explain", 20, 24, 2400, 240, 4800), spent("control", 10, 40, 400, 0, 80))
    measured = Measured("trial", 20, {(row.stage, row.model): row for row in rows})
    controlled = config(scoring={"control": 0.01})
    made = estimate(controlled, measured=measured)
    assert made.measured_on == "trial"
    counts = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens")
    found = {
        name: [getattr(stage(made, name), count) for count in counts]
        for name in ("explain", "control", "simulate")
    }
    assert found["explain"] == [1200, 120_000, 12_000, 240_000]  # of 1000 neurons
    assert found["control"] == [120, 1200, 0, 240]  # of 30
    assert found["simulate"] == [getattr(stage(estimate(), "simulate"), count) for count in counts]
    explained = stage(made, "explain")
    assert explained.usd == pytest.approx((120_000 * 1.0 + 240_000 * 4.0) / 1e6)
    assert explained.usd_with_cache < explained.usd
    assumed = estimate(controlled, measured=measured, reasoning_tokens=7)
    assert assumed.measured_on is None
