"""The settings of a server of pages."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from db.call_page import CallUse
from db.embeddings import RunEmbedding
from db.session import Patience
from web.controls import Controls

LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")

# A reader does not wait for a page longer than this, and a lost page frees its connection.
PATIENCE = Patience(idle_s=30.0, lock_s=1.0, statement_s=10.0)

NeuronAs = Callable[[Connection, int, int, int, str], bytes | None]
"""Returns (run id, layer, neuron) in a format, `openai` or `neuronpedia`, as JSON."""

SentBody = Callable[[Connection, bytes, CallUse], dict[str, Any] | None]
"""Returns the body of the call of this identity, that a result was read from."""


EmbedQuery = Callable[[RunEmbedding, str], NDArray[np.float32]]
"""Embeds a text as a run's explanations were; raises InputError where it cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """The settings of one server.

    Attributes:
        engine: The database, with `PATIENCE`.
        hosts: The names under which the server may be addressed, without ports. A page of another
            site that resolves its own name to this address is refused for it.
        token: What every request must show; None for servers on loopback.
        reader: For queries that people write: a database user who can only read; None for a server
            that has none, and takes no such query.
        controls: What may change runs; None for a server that only reads.
        sent_body: Finds what a call sent; None for a server that cannot.
        embed_query: Embeds what people search for; None for a server that cannot.
        neuron_as: Writes a neuron in the formats of exports; None for a server that has none.
    """

    engine: Engine
    hosts: tuple[str, ...] = LOOPBACK
    token: str | None = field(default=None, repr=False)
    reader: Engine | None = None
    controls: Controls | None = None
    neuron_as: NeuronAs | None = None
    sent_body: SentBody | None = None
    embed_query: EmbedQuery | None = None
