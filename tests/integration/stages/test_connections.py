"""Connections by weight against their definition, by loops over whole matrices in numpy."""

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2Model

from db import connections, shard_readiness
from neurogloss.subject import weights
from neurogloss.subject.model import load_subject
from neurogloss.subject.shape import read_shape
from neurogloss.subject.weights import strongest_connections
from tests.support.collected_run import config_of, make_run, work_through
from tests.support.tiny_subject import make_tokens


def configured(name, model, **counts):
    found = config_of(name, model, 60, 64, 64, top=20, random=20, per_quantile=5)
    return found.model_validate(found.model_dump() | {"name": name, "connections": counts})


def of_all(engine, run_id, related, layer, n):
    with engine.begin() as connection:
        rows = related.load(connection, run_id, layer, 0, n)
    return {(row.neuron, row.direction): row for row in rows}


def check(ids, found, products, n):
    """Check candidates and weights against all products of one neuron, float64 (n_candidates,)."""
    order = np.sort(products)
    highest = [w for w in order[::-1][:n] if w > 0]
    lowest = [w for w in order[:n] if w < 0][::-1]
    assert np.allclose(found, [*highest, *lowest], rtol=1e-4, atol=1e-6)
    assert np.allclose(products[ids], found, rtol=1e-4, atol=1e-6)
    assert len(set(ids.tolist())) == len(ids)


def matrices(model):
    """Return reads and writes, (layer, neuron, d_model), and the two embeddings, in float64."""
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}
    layers = range(model.config.n_layer)
    gains = [np.diag(state[f"h.{layer}.ln_2.weight"]) for layer in layers]
    reads = [(gains[layer] @ state[f"h.{layer}.mlp.c_fc.weight"]).T for layer in layers]
    writes = [state[f"h.{layer}.mlp.c_proj.weight"] for layer in layers]
    wte = state["wte.weight"]
    return reads, writes, wte, wte @ np.diag(state["ln_f.weight"])


def test_connections_of_every_demo_neuron_equal_their_definition(engine, monkeypatch):
    monkeypatch.setattr(weights, "BLOCK", 300)  # several blocks of everything
    config = configured("demo", "demo", neurons=3, tokens=5)
    run_id = make_run(engine, config, read_shape("demo"), make_tokens(60, 2000, 64, 1))
    work_through(engine, run_id)
    reads, writes, wte, unembedding = matrices(load_subject("demo"))
    width, last = len(reads[0]), len(reads) - 1
    for layer in range(last + 1):
        tokens = of_all(engine, run_id, connections.related_tokens, layer, width)
        neurons = of_all(engine, run_id, connections.related_neurons, layer, width)
        inputs, outputs = wte @ reads[layer].T, unembedding @ writes[layer].T
        before = np.concatenate(
            [np.empty((0, width)), *(w @ reads[layer].T for w in writes[:layer])]
        )
        after = np.concatenate(
            [np.empty((0, width)), *(r @ writes[layer].T for r in reads[layer + 1 :])]
        )
        for neuron in range(width):
            for direction, products in (("input", inputs), ("output", outputs)):
                row = tokens[neuron, direction]
                check(np.array(row.tokens), row.weights, products[:, neuron], 5)
            for direction, products, first in (
                ("upstream", before, 0),
                ("downstream", after, layer + 1),
            ):
                row = neurons[neuron, direction]
                ids = (np.array(row.layers, int) - first) * width + np.array(row.neurons, int)
                check(ids, row.weights, products[:, neuron], 3)


def test_a_sample_of_neurons_has_related_neurons_of_all(engine):
    config = configured("some", "demo", neurons=2, tokens=0)
    config = config.model_validate(
        config.model_dump() | {"neurons": {"layers": [3], "per_layer": 5}}
    )
    run_id = make_run(engine, config, read_shape("demo"), make_tokens(60, 2000, 64, 1))
    work_through(engine, run_id)
    with engine.begin() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM related_neurons").mappings().all()
        assert connection.exec_driver_sql("SELECT count(*) FROM related_tokens").scalar() == 0
    assert len(rows) == 10
    assert {n for row in rows if row["direction"] == "upstream" for n in row["layers"]} <= {0, 1, 2}
    assert {n for row in rows if row["direction"] == "downstream" for n in row["layers"]} <= {4, 5}


@pytest.mark.parametrize("n", [1, 7, 40])
def test_ties_and_zeros_are_settled(n):
    rows = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    candidates = torch.tensor([[float(i % 4 - 1), 1.0] for i in range(30)])
    found = strongest_connections(rows, [(100, candidates)], n)
    expected = sorted((w for w in candidates[:, 0].tolist() if w > 0), reverse=True)[:n]
    expected += sorted(w for w in candidates[:, 0].tolist() if w < 0)[:n]
    kept = found.weights[0] != 0
    assert found.weights[0][kept].tolist() == expected
    assert (candidates[:, 0].numpy()[found.candidates[0][kept] - 100] == expected).all()
    assert not found.weights[1].any()


@pytest.mark.parametrize("rising", [False, True], ids=["by chance", "ever higher"])
def test_candidates_are_found_in_whatever_block_they_are(rising):
    drawn = torch.Generator().manual_seed(0)
    rows = torch.randint(-9, 10, (600, 4), generator=drawn).to(torch.float32)
    sizes = (63, 64, 500, 5000, 1)  # fewer than are read again together, as many, and more
    blocks = [torch.randint(-999, 1000, (n, 4), generator=drawn).to(torch.float32) for n in sizes]
    if rising:  # each block replaces what the one before left
        blocks = [block * 10**place for place, block in enumerate(blocks)]
    firsts = [7, *(7 + np.cumsum(sizes)[:-1]).tolist()]
    found = strongest_connections(rows, zip(firsts, blocks, strict=True), 5)
    products = (rows @ torch.cat(blocks).T).numpy()
    ordered = np.sort(products, axis=1)
    assert (found.weights[:, :5] == np.maximum(ordered[:, :-6:-1], 0)).all()
    assert (found.weights[:, 5:] == np.minimum(ordered[:, 4::-1], 0)).all()
    named = np.take_along_axis(products, np.maximum(found.candidates - 7, 0), axis=1)
    assert ((named == found.weights) | (found.weights == 0)).all()


def test_the_number_of_threads_changes_no_bit():
    drawn = torch.Generator().manual_seed(0)
    rows, candidates = (torch.randn(n, 48, generator=drawn) for n in (1100, 3000))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(strongest_connections(rows, [(0, candidates)], 10))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert (other.weights == found[0].weights).all()
        assert (other.candidates == found[0].candidates).all()


def test_connections_wait_for_nothing_and_no_explanation_waits_for_them(engine):
    config = configured("beside", "demo", neurons=1, tokens=1)
    run_id = make_run(engine, config, read_shape("demo"), make_tokens(60, 2000, 64, 1))
    with engine.begin() as connection:
        shard_readiness.open_ready(connection, run_id)
        query = "SELECT DISTINCT step FROM shard WHERE state = 'ready' ORDER BY 1"
        assert list(connection.exec_driver_sql(query).scalars()) == ["connections", "reference"]
        insert = (
            "INSERT INTO shard (run_id, stage, layer, start, stop, weight)"
            " VALUES (%s, 'explain', 0, 0, 9, 9)"
        )
        connection.exec_driver_sql(insert, (run_id,))
        done = "UPDATE shard SET state = 'done' WHERE stage = 'collect' AND step <> %s"
        connection.exec_driver_sql(done, ("connections",))
        shard_readiness.open_ready(connection, run_id)
        state = "SELECT state FROM shard WHERE stage = 'explain'"
        assert connection.exec_driver_sql(state).scalar() == "ready"


def test_a_layer_norm_without_gain_in_a_layer_silences_what_it_reads(tmp_path):
    model = GPT2Model(GPT2Config(n_layer=2, n_embd=8, n_head=2, vocab_size=11))
    with torch.no_grad():
        model.h[1].ln_2.weight.zero_()
    found = weights.ResidualWeights(model)
    assert not found.input_directions(1).any()
    assert found.input_directions(0).any()
