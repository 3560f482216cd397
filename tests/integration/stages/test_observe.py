"""Sentences read by the subject model: the same bits as when they were excerpts of a corpus."""

import numpy as np
import pytest
from sqlalchemy import text

from db import candidates, results
from db.candidates import SentenceRow
from db.records import neuron_records
from db.results import FailureRow
from neurogloss.config.run import RunConfig
from neurogloss.errors import CannotCollect, Interrupted
from neurogloss.subject.model import load_subject
from neurogloss.subject.sentences import load_tokenizer, sentence_activations
from neurogloss.subject.shape import read_shape
from neurogloss.subject.tokenizer import tokenize
from tests.support.collected_run import claimed, make_run, work_through
from worker.stages.observe import observe

LAYER, N_NEURONS, N_TOKENS = 2, 6, 12
TEXTS = [
    f"Reading number {n} of the file, the parser returns {word} and raises {other} after that, "
    "which the caller has to catch"
    for n in range(16)
    for word, other in (("a list", "KeyError"), ("None", "no error"), ("b'x'", "a warning"),
                        ("\ttabs\n\n", "“quotes”"))
]  # fmt: skip
SHORT = "Reading number 7"


@pytest.fixture(scope="module")
def excerpts():
    """The texts, cut to whole excerpts: two tiles of them."""
    found = tokenize(load_tokenizer("demo"), TEXTS, N_TOKENS)
    assert len(found) == 64
    return np.stack(found)


@pytest.fixture
def collected(engine, excerpts):
    """The id of a run of the demo model that has read the texts, and its shard of `observe`."""
    config = RunConfig.model_validate(
        {
            "name": "observed",
            "corpus": {"excerpts": len(excerpts), "excerpt_tokens": N_TOKENS},
            "neurons": {"layers": [LAYER], "per_layer": N_NEURONS},
            "explainer": {"endpoint": "here", "revise": True},
            "simulator": {"endpoint": "here"},
            "endpoints": {"here": {"base_url": "http://localhost/v1"}},
        }
    )
    run_id = make_run(engine, config, read_shape("demo"), excerpts)
    work_through(engine, run_id)
    insert = text(
        "INSERT INTO shard (run_id, stage, layer, start, stop, weight, state)"
        " VALUES (:run, 'observe', :layer, 0, 100000, :n, 'ready') RETURNING id"
    )
    with engine.begin() as connection:
        values = {"run": run_id, "layer": LAYER, "n": N_NEURONS}
        return run_id, connection.scalar(insert, values)


def observed(engine, collected, texts_of):
    """Return what is stored of the sentences after these were observed, by neuron and number."""
    run_id, shard_id = collected
    rows = [
        SentenceRow(run_id, LAYER, neuron, number, sentence, True, False)
        for neuron, texts in texts_of.items()
        for number, sentence in enumerate(texts)
    ]
    with engine.begin() as connection:
        candidates.sentences.save(connection, rows)
    observe(claimed(engine, run_id, shard_id))
    with engine.begin() as connection:
        found = candidates.sentences.load(connection, run_id, LAYER, 0, 100_000)
    return {(row.neuron, row.number): row for row in found}


def records_of(engine, run_id):
    with engine.begin() as connection:
        rows = neuron_records.load(connection, run_id, LAYER, 0, 100_000)
    assert all(row.activations.shape == (len(row.excerpts), N_TOKENS) for row in rows)
    return {row.neuron: (row.excerpts, row.activations) for row in rows}


def test_a_sentence_that_is_an_excerpt_has_the_bits_of_its_record(engine, collected, excerpts):
    recorded = records_of(engine, collected[0])
    assert len(recorded) == N_NEURONS
    # Each neuron has another number of sentences, so that none stands where its excerpt did.
    texts = {
        neuron: [TEXTS[excerpt] for excerpt in named][: 5 + 3 * place]
        for place, (neuron, (named, _)) in enumerate(recorded.items())
    }
    found = observed(engine, collected, texts)
    assert len(found) == sum(map(len, texts.values())) > 64
    for (neuron, number), row in found.items():
        named, activations = recorded[neuron]
        assert row.tokens.tobytes() == excerpts[named[number]].tobytes()
        assert row.activations.tobytes() == activations[number].tobytes()


def test_a_short_sentence_has_the_bits_of_a_longer_one_up_to_its_end(engine, collected, excerpts):
    recorded = records_of(engine, collected[0])
    longer = next(n for n, found in enumerate(TEXTS) if found.startswith(SHORT))
    found = observed(engine, collected, {neuron: [SHORT, TEXTS[longer]] for neuron in recorded})
    for neuron in recorded:
        short, long = found[neuron, 0], found[neuron, 1]
        assert 0 < len(short.tokens) < len(long.tokens) == N_TOKENS
        assert long.tokens.tobytes().startswith(short.tokens.tobytes())
        assert long.activations.tobytes().startswith(short.activations.tobytes())
        assert len(short.activations) == len(short.tokens)


def test_what_was_observed_stays_and_neurons_that_failed_are_left_alone(engine, collected):
    run_id, shard_id = collected
    good, failed = list(records_of(engine, run_id))[:2]
    with engine.begin() as connection:
        row = FailureRow(run_id, "illustrate", LAYER, failed, "refused", "no", 1, None)
        results.failures.save(connection, [row])
    first = observed(engine, collected, {good: [SHORT], failed: [SHORT]})
    assert len(first[good, 0].tokens)
    assert (first[failed, 0].tokens, first[failed, 0].activations) == (None, None)
    with engine.begin() as connection:
        connection.execute(text("UPDATE sentence SET activations = '\\x0102'"))
        connection.execute(text("DELETE FROM failure"))
        connection.execute(
            text("UPDATE shard SET state = 'ready' WHERE id = :id"), {"id": shard_id}
        )
    again = observed(engine, collected, {})
    assert again[good, 0].activations.tobytes() == b"\x01\x02"
    assert again[failed, 0].tokens.tobytes() == first[good, 0].tokens.tobytes()
    assert len(again[failed, 0].activations) == len(first[good, 0].activations)


def test_reading_ends_when_the_worker_is_to_stop(excerpts):
    def stop():
        raise Interrupted

    with pytest.raises(Interrupted):
        sentence_activations(
            load_subject("demo"), 0, list(excerpts), [0] * 64, N_TOKENS, on_batch=stop
        )


def test_a_subject_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(CannotCollect, match=r"there is no tokenizer\.json"):
        load_tokenizer(str(tmp_path))
