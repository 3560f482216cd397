"""Observe: the subject model's activations on the sentences that were written for neurons."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from tokenizers import Tokenizer

from db import results
from db.candidates import Observation, SentenceRow, save_observations, sentences
from db.session import transaction
from neurogloss.stages import up_to
from neurogloss.subject.sentences import load_tokenizer, sentence_activations
from neurogloss.subject.tokenizer import tokenize
from worker.shard import ClaimedShard
from worker.stages.forward_pass import interruption_check, subject_of

# The shards of a worker follow one another in the same run, with the same tokenizer.
_tokenizer = lru_cache(maxsize=1)(load_tokenizer)


def observe(shard: ClaimedShard) -> None:
    """Run the sentences of a shard's neurons through the subject model.

    A sentence without a token is stored with no activations, and later stages leave it out.
    """
    rows = _unobserved(shard)
    observed = (
        _observed(shard, _tokenizer(shard.config.located(shard.config.subject.model)), rows)
        if rows
        else []
    )
    with shard.committing() as connection:
        save_observations(connection, shard.claim.run_id, shard.claim.layer, observed)


def _unobserved(shard: ClaimedShard) -> list[SentenceRow]:
    """Return the sentences of the neurons that have not failed."""
    run_id, layer, start, stop = shard.neuron_range
    with transaction(shard.engine) as connection:
        failed = results.failed(connection, run_id, up_to("observe"), layer, start, stop)
        return [
            row
            for row in sentences.load(connection, *shard.neuron_range)
            if row.tokens is None and row.neuron not in failed
        ]


def _observed(
    shard: ClaimedShard, tokenizer: Tokenizer, rows: Sequence[SentenceRow]
) -> list[Observation]:
    n_tokens = shard.config.corpus.excerpt_tokens
    tokenised = tokenize(tokenizer, [row.text for row in rows], n_tokens)
    readable = [
        (row.neuron, tokens) for row, tokens in zip(rows, tokenised, strict=True) if len(tokens)
    ]
    activations = iter(
        sentence_activations(
            subject_of(shard),
            shard.claim.layer,
            [tokens for _, tokens in readable],
            [neuron for neuron, _ in readable],
            n_tokens,
            on_batch=interruption_check(shard),
        )
    )
    nothing = np.empty(0, np.float16)
    return [
        Observation(row.neuron, row.number, tokens, next(activations) if len(tokens) else nothing)
        for row, tokens in zip(rows, tokenised, strict=True)
    ]
