"""What every reading of the corpus through the subject model begins with."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection
from transformers import GPT2Model

from db import corpora
from neurogloss.errors import Interrupted
from neurogloss.neurons.records import IntArray
from neurogloss.subject.model import load_subject
from worker.shard import ClaimedShard


def subject_of(shard: ClaimedShard) -> GPT2Model:
    """Return the run's subject model, loaded once in each process."""
    return _load_once(shard.config.subject.model, shard.config.subject.dtype)


@lru_cache(maxsize=1)
def _load_once(model: str, dtype: Any) -> GPT2Model:
    return load_subject(model, dtype)


def excerpts(connection: Connection, shard: ClaimedShard, start: int, stop: int) -> IntArray:
    """Return the tokens of a range of excerpts, int32 (n, excerpt_tokens)."""
    return corpora.excerpts_between(connection, shard.run.corpus_id, start, stop)


def go_on(shard: ClaimedShard) -> Callable[[], None]:
    """Return what to call between batches: it raises Interrupted once the worker is to stop."""

    def check() -> None:
        if shard.lease.has_ended():
            raise Interrupted

    return check
