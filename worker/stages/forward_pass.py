"""Resources of stages that run the subject model over the corpus."""

import logging
import os
import threading
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from sqlalchemy import Connection, Engine
from transformers import GPT2Model

from db import corpora, devices
from db.session import transaction
from neurogloss.config.settings import DEVICE
from neurogloss.errors import Interrupted
from neurogloss.neurons.codec import padded
from neurogloss.neurons.records import IntArray
from neurogloss.subject.batches import batch_size, fitting_size
from neurogloss.subject.device import find_device, name_of
from neurogloss.subject.model import Dtype, Matmul, load_subject
from worker.shard import ClaimedShard

log = logging.getLogger(__name__)

_loading = threading.Lock()  # so that two threads do not load the same model at the same time


def subject_of(shard: ClaimedShard) -> GPT2Model:
    """Return the run's subject model, loaded once in each process."""
    subject = shard.config.subject
    name = shard.config.located(subject.model)
    with _loading:
        model = load_once(name, subject.dtype, subject.matmul)
    _note_device(shard.engine, shard.claim.run_id, shard.run.name, name_of(model.device))
    return model


@lru_cache(maxsize=8)
def _note_device(engine: Engine, run_id: int, run: str, device: str) -> None:
    """Record on what a run's activations are computed, once, and warn where it is not the first."""
    with transaction(engine) as connection:
        devices_of_run = devices.note(connection, run_id, device)
    if len(devices_of_run) > 1:
        log.warning("devices differ", extra={"run": run, "devices": "; ".join(devices_of_run)})


# One model only: a worker that serves several runs would otherwise keep the memory of all of them.
@lru_cache(maxsize=1)
def load_once(model: str, dtype: Dtype, matmul: Matmul) -> GPT2Model:
    """Return a subject model, which is kept until another one is asked for."""
    return load_subject(model, dtype, matmul)


def check_device() -> None:
    """Log the device of this process.

    Raises:
        CannotCollect: The device that it must use is not there.
    """
    device = find_device()
    log.info("device found", extra={"device": name_of(device)})
    if device.type == "cpu" and torch.version.cuda and not os.environ.get(DEVICE):
        log.warning("no GPU used", extra={"cuda": torch.version.cuda, "set": f"{DEVICE}=cuda"})


def excerpts(
    connection: Connection, shard: ClaimedShard, start: int, stop: int
) -> tuple[IntArray, IntArray | None]:
    """Return the tokens of a range of excerpts, int32 (n, excerpt_tokens), and their lengths.

    Lengths are int32 (n,); what follows the end of a shorter excerpt is no token. They are None if
    the run keeps no short documents.
    """
    corpus = shard.config.corpus
    rows = corpora.excerpts_between(connection, shard.run.corpus_id, start, stop)
    # Always as wide, because floating-point results may depend on a batch's shape.
    tokens = padded(rows, 0, corpus.excerpt_tokens)
    return tokens, np.array(list(map(len, rows)), np.int32) if corpus.short == "keep" else None


def n_batches(model: GPT2Model, n_excerpts: int, n_tokens: int) -> int:
    """Return in how many batches so many excerpts of a length go through the model."""
    return -(-n_excerpts // fitting_size(model, batch_size(model.device, n_tokens)))


def interruption_check(shard: ClaimedShard, n_calls: int | None = None) -> Callable[..., None]:
    """Return a function to call now and then, which raises Interrupted once the lease ended.

    If it is known how often it will be called, it notes how much of the shard is done. A call may
    count as several, by its argument, where parts of the work take different times. The function is
    safe to use from several threads.
    """
    calls, counting = 0, threading.Lock()

    def check(n: int = 1) -> None:
        nonlocal calls
        with counting:
            calls += n
        if n_calls is not None:
            shard.lease.fraction = min(1.0, calls / n_calls)
        if shard.lease.has_ended():
            raise Interrupted

    return check
