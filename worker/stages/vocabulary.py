"""Token texts, read from the database once in each process."""

from sqlalchemy import Connection

from db import corpora
from worker.shard import ClaimedShard

_texts: dict[str, list[str]] = {}  # by the digest of a corpus: ids begin anew in another database


def texts_of(connection: Connection, shard: ClaimedShard) -> list[str]:
    """Return the text of every token of the subject's vocabulary, by token."""
    corpus = corpora.get(connection, shard.run.corpus_id)
    digest = corpus.digest
    if digest not in _texts:
        _texts[digest] = corpora.token_texts(connection, corpus.vocabulary_id)
    return _texts[digest]
