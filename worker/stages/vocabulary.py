"""Token texts, read from the database once in each process."""

from sqlalchemy import Connection

from db import runs
from worker.shard_work import ShardWork

_texts: dict[int, list[str]] = {}


def texts_of(connection: Connection, work: ShardWork) -> list[str]:
    """Return the text of every token of the subject's vocabulary, by token."""
    corpus_id = work.run["corpus_id"]
    if corpus_id not in _texts:
        vocabulary_id = runs.corpus(connection, corpus_id)["vocabulary_id"]
        _texts[corpus_id] = runs.token_texts(connection, vocabulary_id)
    return _texts[corpus_id]
