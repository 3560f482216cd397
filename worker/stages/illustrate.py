"""Illustrate: the explainer writes sentences that test its draft."""

from collections.abc import Mapping

from db import results
from db.candidates import SentenceRow, sentences
from db.results import FailureRow
from db.session import transaction
from neurogloss.errors import RowError
from neurogloss.llm.calls import Call
from neurogloss.neurons.illustration import illustration_body, read_illustration
from neurogloss.neurons.prompts import with_room
from neurogloss.stages import up_to
from worker.shard import ClaimedShard
from worker.stages.candidates import chosen_drafts
from worker.stages.model_calls import ask_each, failure_row


def illustrate(shard: ClaimedShard) -> None:
    """Ask for sentences for the drafts of a shard's neurons that have none yet."""
    calls = _calls(shard)
    n = shard.config.explainer.sentences
    outcomes = ask_each(
        shard,
        shard.config.explainer.endpoint,
        list(calls.values()),
        lambda answer: read_illustration(answer, n),
    )
    rows: list[SentenceRow] = []
    failures: list[FailureRow] = []
    for neuron, outcome in zip(calls, outcomes, strict=True):
        if isinstance(outcome, RowError):
            failures.append(failure_row(shard, neuron, outcome))
            continue
        written, call = outcome
        key = (shard.claim.run_id, shard.claim.layer, neuron)
        rows += [
            SentenceRow(
                *key, number, sentence.text, sentence.is_expected, sentence.for_judging, call
            )
            for number, sentence in enumerate(written)
        ]
    with shard.committing() as connection:
        sentences.save(connection, rows)
        results.failures.save(connection, failures)


def _calls(shard: ClaimedShard) -> Mapping[int, Call]:
    """Return a call for each neuron that has a draft and no sentences."""
    run_id, layer, start, stop = shard.neuron_range
    with transaction(shard.engine) as connection:
        done = results.failed(connection, run_id, up_to("illustrate"), layer, start, stop)
        done |= {row.neuron for row in sentences.load(connection, *shard.neuron_range)}
        retries = results.retries(connection, run_id, "illustrate", layer, start, stop)
        drafts = chosen_drafts(connection, shard)
    return {
        neuron: _call(shard, draft.text, retries.get(neuron, 0))
        for neuron, draft in sorted(drafts.items())
        if neuron not in done
    }


def _call(shard: ClaimedShard, draft: str, sample: int) -> Call:
    explainer, n_tokens = shard.config.explainer, shard.config.corpus.excerpt_tokens
    prompt = illustration_body(draft, explainer.sentences, n_tokens)
    body = {"model": explainer.model, **with_room(prompt, explainer.max_tokens)}
    return Call("illustrate", explainer.model, body, sample=sample)
