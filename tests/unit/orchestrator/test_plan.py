import pytest

from neurogloss.config.run import RunConfig
from neurogloss.neurons.selection import n_reference
from neurogloss.subject.shape import Shape
from orchestrator.runs.plan import make_plan

SMALL = Shape(n_layers=3, neurons_per_layer=100, n_positions=64, vocab_size=50)
GPT2_XL = Shape(n_layers=48, neurons_per_layer=6400, n_positions=1024, vocab_size=50257)


def config(**changes):
    lookup = {"kind": "lookup"}
    return RunConfig.model_validate(
        {"name": "x", "explainer": lookup, "simulator": lookup, **changes}
    )


def shards_of(plan, stage, step=""):
    return [shard for shard in plan.shards if shard[:2] == (stage, step)]


@pytest.mark.parametrize("stage", ["explain", "simulate", "score"])
@pytest.mark.parametrize("per_layer", ["all", 17])
def test_shards_hold_every_neuron_once(stage, per_layer):
    plan = make_plan(config(neurons={"per_layer": per_layer}), SMALL)
    held = [
        (layer, neuron, False, False)
        for _, _, layer, start, stop, *_ in shards_of(plan, stage)
        for neuron in plan.neurons[layer]
        if start <= neuron < stop
    ]
    assert sorted(held) == sorted(plan.neuron_rows())
    assert sum(shard[5] for shard in shards_of(plan, stage)) == plan.n_neurons


def test_every_excerpt_is_read_once():
    plan = make_plan(config(corpus={"excerpts": 3000}), SMALL)
    read = shards_of(plan, "collect", "reference") + shards_of(plan, "collect", "read")
    covered = [excerpt for shard in read for excerpt in range(shard[3], shard[4])]
    assert covered == list(range(3000))
    assert shards_of(plan, "collect", "reference")[-1][4] == n_reference(3000)


def test_totals_are_the_weights_of_the_shards():
    plan = make_plan(config(), SMALL)
    totals = plan.totals()
    for stage in ("collect", "explain", "simulate", "score"):
        weights = sum(shard[5] for shard in plan.shards if shard[0] == stage)
        assert sum(total for found, _, total in totals if found == stage) == weights


def test_a_sample_of_neurons_is_seeded_and_distinct():
    first = make_plan(config(neurons={"layers": [1], "per_layer": 10}), SMALL).neurons
    assert first == make_plan(config(neurons={"layers": [1], "per_layer": 10}), SMALL).neurons
    assert list(first) == [1]
    assert len(set(first[1])) == 10


def test_without_lookup_and_baselines_nothing_is_read_twice():
    endpoints = {"openai": {"base_url": "https://api.test/v1"}}
    values = {"name": "x", "endpoints": endpoints, "scoring": {"baselines": False}}
    plan = make_plan(RunConfig.model_validate(values), SMALL)
    steps = {step for stage, step, *_ in plan.shards if stage == "collect"}
    assert steps == {"reference", "boundaries", "read", "select", "connections"}


def test_gpt2_xl_is_planned_whole():
    plan = make_plan(config(), GPT2_XL)
    assert plan.n_neurons == 307_200
    assert len(shards_of(plan, "explain")) == 4800


def test_baselines_are_read_beside_unless_somebody_waits_for_the_tables():
    endpoints = {"openai": {"base_url": "https://api.test/v1"}}
    calling = RunConfig.model_validate({"name": "x", "endpoints": endpoints})
    for found, step, other in ((calling, "baselines", "lookup"), (config(), "lookup", "baselines")):
        plan = make_plan(found, SMALL)
        assert [shard[3:5] for shard in shards_of(plan, "collect", step)] == [(0, 3)]
        assert shards_of(plan, "collect", other) == []


@pytest.mark.parametrize(
    ("per_layer", "mib", "n_shards"), [(100, 1024, 2), ("all", 1024, 48), ("all", 8192, 16)]
)
def test_lookup_shards_have_as_many_layers_as_fit_into_memory(per_layer, mib, n_shards):
    changes = {"neurons": {"per_layer": per_layer}, "shards": {"lookup_mib": mib}}
    plan = make_plan(config(**changes), GPT2_XL)
    shards = shards_of(plan, "collect", "lookup")
    covered = [layer for shard in shards for layer in range(shard[3], shard[4])]
    assert (len(shards), covered) == (n_shards, list(range(48)))
    assert sum(shard[5] for shard in shards) == config().corpus.excerpts


def test_an_explainer_of_tokens_waits_for_the_tables():
    endpoints = {"openai": {"base_url": "https://api.test/v1"}}
    values = {"name": "x", "endpoints": endpoints, "explainer": {"kind": "token_space"}}
    plan = make_plan(RunConfig.model_validate(values), SMALL)
    assert len(shards_of(plan, "collect", "lookup")) == 1


def ablating(**ablation):
    endpoints = {"e": {"base_url": "http://127.0.0.1:9/v1"}}
    role = {"endpoint": "e"}
    scoring = {"calibration": ["linear"]}
    return config(
        explainer=role, simulator=role, endpoints=endpoints, scoring=scoring, ablation=ablation
    )


def test_ablated_neurons_are_those_named_and_a_sample_of_each_layer():
    plan = make_plan(ablating(neurons=[[2, 7], [0, 99]], per_layer=3), SMALL)
    assert len(plan.ablated[1]) == 3
    assert {len(plan.ablated[0]), len(plan.ablated[2])} <= {3, 4}
    assert 7 in plan.ablated[2]
    assert 99 in plan.ablated[0]
    assert sum(s[5] for s in shards_of(plan, "ablate")) == sum(map(len, plan.ablated.values()))
    marked = {(row.layer, row.neuron) for row in plan.neuron_rows() if row.is_ablated}
    assert marked == {(layer, n) for layer, found in plan.ablated.items() for n in found}
    assert make_plan(ablating(neurons=[[2, 7], [0, 99]], per_layer=3), SMALL) == plan


@pytest.mark.parametrize(
    ("share", "per_layer", "n"),
    [
        pytest.param(0.01, "all", 30, id="at least 30"),
        pytest.param(0.5, "all", 150, id="a share"),
        pytest.param(0.01, 7, 21, id="all, if there are fewer"),
    ],
)
def test_controlled_neurons_are_a_seeded_sample_of_the_run(share, per_layer, n):
    endpoints = {"e": {"base_url": "http://127.0.0.1:9/v1"}}
    role = {"endpoint": "e"}
    values = {"explainer": role, "simulator": role, "endpoints": endpoints}
    values |= {"scoring": {"control": share}, "neurons": {"per_layer": per_layer}}
    plan = make_plan(config(**values), SMALL)
    marked = [(row.layer, row.neuron) for row in plan.neuron_rows() if row.has_control]
    assert len(set(marked)) == n
    assert {layer for layer, _ in marked} == {0, 1, 2}
    assert sum(s[5] for s in shards_of(plan, "control")) == n
    assert all(s[5] for s in shards_of(plan, "control"))
    assert make_plan(config(**values), SMALL) == plan


def test_a_run_without_ablation_has_no_stage_for_it():
    assert {stage for stage, *_ in make_plan(config(), SMALL).shards} == {
        *("collect", "explain", "simulate", "score")
    }
