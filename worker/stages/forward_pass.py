"""What every reading of the corpus through the subject model begins with."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from sqlalchemy import Connection
from transformers import GPT2Model

from db import runs
from neurogloss.errors import Interrupted
from neurogloss.neurons.records import IntArray
from neurogloss.subject.model import load_subject
from worker.shard import ShardWork


def subject_of(work: ShardWork) -> GPT2Model:
    """Return the run's subject model, loaded once in each process."""
    return _load_once(work.config.subject.model, work.config.subject.dtype)


@lru_cache(maxsize=1)
def _load_once(model: str, dtype: Any) -> GPT2Model:
    return load_subject(model, dtype)


def excerpts(connection: Connection, work: ShardWork, start: int, stop: int) -> IntArray:
    """Return the tokens of a range of excerpts, int32 (n, excerpt_tokens)."""
    rows = runs.excerpts_between(connection, work.run["corpus_id"], start, stop)
    return np.stack([np.frombuffer(tokens, np.int32) for _, tokens in rows])


def go_on(work: ShardWork) -> Callable[[], None]:
    """Return what to call between batches: it raises Interrupted once the worker is to stop."""

    def check() -> None:
        if work.stop.is_set():
            raise Interrupted

    return check
