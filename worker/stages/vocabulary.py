"""The vocabulary of a run, read from the database once in each process."""

from sqlalchemy import Connection

from db import corpora
from worker.shard import ClaimedShard

# By the digest of the corpus: a process of the tests meets several databases, whose ids all begin
# with 1.
_texts: dict[str, list[str]] = {}


def texts_of(connection: Connection, shard: ClaimedShard) -> list[str]:
    """Return the text of every token of the subject's vocabulary, by token."""
    corpus = corpora.get(connection, shard.run.corpus_id)
    digest = corpus.digest
    if digest not in _texts:
        _texts[digest] = corpora.token_texts(connection, corpus.vocabulary_id)
    return _texts[digest]
