"""How long shards of collect should take: in proportion to what they are about."""

import pytest

from neurogloss.config.run import RunConfig
from neurogloss.subject.shape import Shape
from orchestrator.runs.plan import make_plan

NARROW = Shape(n_layers=6, neurons_per_layer=1600, n_positions=64, vocab_size=4096, width=64)


def seconds(shape=NARROW, **changes):
    """Return the seconds that each step should take in all its shards."""
    lookup = {"kind": "lookup"}
    config = RunConfig.model_validate(
        {"name": "x", "explainer": lookup, "simulator": lookup, **changes}
    )
    sums = {}
    for shard in make_plan(config, shape).shards:
        if shard.stage == "collect":
            sums[shard.step] = sums.get(shard.step, 0) + shard.expected_s
        else:
            assert shard.expected_s == 0
    return sums


def test_every_step_should_take_some_time():
    assert min(seconds().values()) > 0
    assert min(seconds(explainer={"kind": "lookup"}, neurons={"layers": [3]}).values()) > 0


def test_twice_the_excerpts_take_twice_the_reading():
    once, twice = (seconds(corpus={"excerpts": n}) for n in (20_000, 40_000))
    reading = [of["reference"] + of["read"] for of in (once, twice)]
    assert reading[1] == pytest.approx(2 * reading[0])
    assert once["connections"] == twice["connections"]
    assert once["lookup"] < twice["lookup"] < 2 * once["lookup"]


def test_a_few_neurons_take_a_share_of_the_tables_and_nearly_all_of_a_wide_forward_pass():
    wide = Shape(n_layers=6, neurons_per_layer=6400, n_positions=64, vocab_size=4096, width=1600)
    every, few = seconds(wide), seconds(wide, neurons={"per_layer": 64})
    assert few["connections"] == pytest.approx(every["connections"] / 100)
    assert few["select"] == pytest.approx(every["select"] / 100)
    assert few["read"] > 0.5 * every["read"]


def test_shards_of_lookup_tables_share_what_all_layers_take():
    whole = seconds()["lookup"]
    assert seconds(shards={"lookup_mib": 64})["lookup"] == pytest.approx(whole)
