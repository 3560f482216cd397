"""Create a run, or resume the one that has its name."""

import logging
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from db import corpora, parked_shards, runs
from db.configurations import differences
from db.corpora import NewCorpus
from db.runs import StoredRun
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.errors import InputError
from neurogloss.subject.shape import Shape
from neurogloss.subject.tokenizer import (
    begin_of_text,
    token_texts,
    tokenizer_for,
    vocabulary_digest,
)
from orchestrator.corpus.cut import CutCorpus, cut_excerpts
from orchestrator.corpus.sources import documents
from orchestrator.runs.derive import create_from_run
from orchestrator.runs.endpoints import Readiness, check_endpoints
from orchestrator.runs.plan import Plan, make_plan
from orchestrator.runs.save import log_created, save_run
from worker.outages import retry_while_db_down
from worker.run import Run, log_changes

log = logging.getLogger(__name__)

# A hub dataset may be too large to be read whole. Two documents per excerpt leave room for
# documents that are shorter than a window.
HUB_DOCUMENTS_PER_EXCERPT = 2


def create_or_resume(
    engine: Engine,
    config: RunConfig,
    shape: Shape | None,
    on_document: Callable[[], None],
    *,
    unpauses: bool = True,
) -> int:
    """Create the run of this configuration, or resume it; return its id.

    Args:
        engine: The database.
        config: The configuration; if it has `records.run`, as completed by `with_records_of`.
        shape: The shape of the subject model; None with `records.run`.
        on_document: Called for each document of the corpus that is read.
        unpauses: Whether a run that is paused goes on.

    Raises:
        InputError: The name belongs to a run with another configuration, or the corpus cannot be
            read or is too small.
        RunError: The run is new, and the probe of an endpoint failed.
    """
    stored = retry_while_db_down(lambda: _find(engine, config.name))
    if stored is not None:
        return _resume(engine, stored, config, unpauses)
    if shape is None:
        return create_from_run(engine, config)
    return _create(engine, config, shape, on_document)


def _find(engine: Engine, name: str) -> StoredRun | None:
    with transaction(engine) as connection:
        return runs.find(connection, name)


def _resume(engine: Engine, stored: StoredRun, config: RunConfig, unpauses: bool) -> int:
    refuse_cancelled(stored)
    before = Run.of(stored).config
    # The digest is computed anew instead of read: a configuration stored by an earlier version
    # lacks the keys that were added since, and gets their defaults here.
    if before.digest() != config.digest():
        changes = "\n  ".join(differences(before.frozen(), config.frozen()))
        raise InputError(
            f"run {config.name!r} exists with another configuration; "
            f"choose another name or undo:\n  {changes}"
        )
    retry_while_db_down(lambda: _go_on(engine, stored, config, unpauses))
    log_changes("limits changed", stored.name, before, config)
    if stored.state == "running" or (stored.state == "paused" and unpauses):
        fields = {"run": stored.name, "run_id": stored.id, "was": stored.state}
        log.info("run resumed", extra=fields)
    return stored.id


def _go_on(engine: Engine, run: StoredRun, config: RunConfig, unpauses: bool) -> None:
    with transaction(engine) as connection:
        # Read again under a lock: it may have been cancelled or paused since.
        current = runs.get_for_update(connection, run.id)
        refuse_cancelled(current)
        runs.update_limits(connection, run.id, config.model_dump(mode="json"))
        runs.set_budget(connection, run.id, config.budget.usd)
        if current.folder is not None and config.folder is not None:  # older runs have none
            runs.set_folder(connection, run.id, str(config.folder))
        if current.state == "paused" and unpauses:
            runs.resume(connection, run.id)
            parked_shards.forgive(connection, run.id)


def refuse_cancelled(run: StoredRun) -> None:
    """Check that a run was not cancelled.

    Raises:
        InputError: It was cancelled, which cannot be undone.
    """
    if run.state == "cancelled":
        raise InputError(
            f"run {run.name!r} was cancelled, which is for good. The same configuration under "
            "another name takes over every answer that was paid for"
        )


def _create(
    engine: Engine, config: RunConfig, shape: Shape, on_document: Callable[[], None]
) -> int:
    tokenizer = tokenizer_for(config.located(config.subject.model), shape.vocab_size)
    source = config.corpus
    begin = begin_of_text(tokenizer) if source.begin_of_text else None
    # Before the corpus is cut, which may take minutes: a wrong key is told at once.
    ready = check_endpoints(config)
    cut = cut_excerpts(
        documents(
            config.located(config.corpus.source), HUB_DOCUMENTS_PER_EXCERPT * source.excerpts
        ),
        tokenizer,
        n_excerpts=source.excerpts,
        n_tokens=source.excerpt_tokens,
        seed=source.seed,
        keep_short=source.short == "keep",
        begin=begin,
        on_document=on_document,
    )
    texts = token_texts(tokenizer, shape.vocab_size)
    plan = make_plan(config, shape)
    try:
        run_id = retry_while_db_down(lambda: _save(engine, config, shape, cut, texts, plan, ready))
    except IntegrityError:
        # Another command has just created the run, or this one has and the connection broke before
        # the commit was acknowledged.
        return create_or_resume(engine, config, shape, on_document)
    log_created(run_id, config, plan, ready)
    return run_id


def _save(
    engine: Engine,
    config: RunConfig,
    shape: Shape,
    cut: CutCorpus,
    texts: list[str],
    plan: Plan,
    ready: Readiness,
) -> int:
    with transaction(engine) as connection:
        corpus = NewCorpus(
            digest=cut.digest,
            vocabulary_id=corpora.save_vocabulary(connection, vocabulary_digest(texts), texts),
            source=config.corpus.source,
            n_excerpts=len(cut.excerpts),
            excerpt_tokens=config.corpus.excerpt_tokens,
            n_documents=cut.n_documents,
            n_documents_too_short=cut.n_documents_too_short,
            n_windows=cut.n_windows,
        )
        excerpts = ((e.document, e.position, e.tokens) for e in cut.excerpts)
        corpus_id = corpora.save_corpus(connection, corpus, excerpts)
        return save_run(connection, config, shape, corpus_id, plan, ready)
