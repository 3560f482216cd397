"""Creating a run, or finding it again under its name."""

from collections.abc import Callable

from sqlalchemy import Engine, RowMapping
from sqlalchemy.exc import IntegrityError

from db import runs, shards
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.config.toml import differences
from neurogloss.errors import InputError
from neurogloss.subject.shape import Shape, read_tokenizer, token_texts, vocabulary_digest
from orchestrator.corpus.cut import CutCorpus, cut_excerpts
from orchestrator.corpus.sources import documents
from orchestrator.runs.derive import create_from_run
from orchestrator.runs.endpoints import Readiness, check_endpoints
from orchestrator.runs.plan import Plan, make_plan
from orchestrator.runs.save import save_run
from worker.outages import retry_while_db_down

HUB_DOCUMENTS_PER_EXCERPT = 2  # read of a hub data set, which may be too large to read whole


def create_or_resume(
    engine: Engine, config: RunConfig, shape: Shape | None, on_document: Callable[[], None]
) -> int:
    """Return the id of the run of this configuration, which is running then.

    Args:
        engine: The database.
        config: The configuration; with `records.run`, completed by `with_records_of`.
        shape: Of the subject model; None with `records.run`.
        on_document: Called for each document of the corpus that is read.

    Raises:
        InputError: The name belongs to a run of another configuration, or the corpus does not
            serve.
        RunError: An endpoint of a run that is not there yet cannot do its part.
    """
    found = retry_while_db_down(lambda: _find(engine, config.name))
    if found is not None:
        return _resume(engine, found, config)
    if shape is None:
        return create_from_run(engine, config)
    return _create(engine, config, shape, on_document)


def _find(engine: Engine, name: str) -> RowMapping | None:
    with transaction(engine) as connection:
        return runs.find(connection, name)


def _resume(engine: Engine, found: RowMapping, config: RunConfig) -> int:
    refuse_cancelled(found)
    before = RunConfig.model_validate(found["config"])
    if before.digest() != config.digest():  # stored ones may lack a key that has come since
        changes = "\n  ".join(differences(before.frozen(), config.frozen()))
        raise InputError(
            f"run {config.name!r} exists with another configuration; "
            f"choose another name or undo:\n  {changes}"
        )
    retry_while_db_down(lambda: _go_on(engine, found, config))
    return int(found["id"])


def _go_on(engine: Engine, found: RowMapping, config: RunConfig) -> None:
    with transaction(engine) as connection:
        runs.update_limits(connection, found["id"], config.model_dump(mode="json"))
        runs.set_budget(connection, found["id"], config.budget.usd)
        if found["state"] == "paused":
            runs.resume(connection, found["id"])
            shards.forgive(connection, found["id"])


def refuse_cancelled(run: RowMapping) -> None:
    """Raise InputError if a run was cancelled: it is over for good."""
    if run["state"] == "cancelled":
        raise InputError(
            f"run {run['name']!r} was cancelled, which is for good. The same configuration under "
            "another name takes over every answer that was paid for"
        )


def _create(
    engine: Engine, config: RunConfig, shape: Shape, on_document: Callable[[], None]
) -> int:
    ready = check_endpoints(config)
    tokenizer = read_tokenizer(config.subject.model)
    source = config.corpus
    cut = cut_excerpts(
        documents(source.source, HUB_DOCUMENTS_PER_EXCERPT * source.excerpts),
        tokenizer,
        n_excerpts=source.excerpts,
        n_tokens=source.excerpt_tokens,
        seed=source.seed,
        on_document=on_document,
    )
    texts = token_texts(tokenizer, shape.vocab_size)
    plan = make_plan(config, shape)
    try:
        return retry_while_db_down(lambda: _save(engine, config, shape, cut, texts, plan, ready))
    except IntegrityError:  # another command has just created it, or we have: the word got lost
        return create_or_resume(engine, config, shape, on_document)


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
        corpus = {
            "digest": cut.digest,
            "vocabulary_id": runs.save_vocabulary(connection, vocabulary_digest(texts), texts),
            "source": config.corpus.source,
            "n_excerpts": len(cut.excerpts),
            "excerpt_tokens": config.corpus.excerpt_tokens,
            "n_documents": cut.n_documents,
            "n_documents_too_short": cut.n_documents_too_short,
            "n_windows": cut.n_windows,
        }
        excerpts = ((e.document, e.position, e.tokens) for e in cut.excerpts)
        corpus_id = runs.save_corpus(connection, corpus, excerpts)
        return save_run(connection, config, shape, corpus_id, plan, ready)
