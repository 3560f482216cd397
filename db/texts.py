"""Texts that people ask about: submitting them, and loading what was found.

Workers take them by `db.text_queue`.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, select, text, update

from db import runs
from db.tables.runs import run_table
from db.tables.texts import text_request_table
from db.text_baselines import BASELINES
from db.text_result_rows import load_result
from db.text_results import TextResult
from neurogloss.errors import InputError

MAX_TOKENS = 1024  # what every GPT-2 reads at once
MAX_CHARACTERS = 20_000  # some five times what 1,024 tokens of English have
MAX_TARGET = 200  # characters of a token
MAX_ABLATED = 1000  # neurons: as many as a result keeps
MAX_WAITING = 20  # requests that are not done, of all runs
MAX_PER_MINUTE = 60  # of one requester


class TextRefused(InputError):
    """A text that is not taken; `reason` is `text`, `ablate`, `run`, `queue` or `rate`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason, self.message = reason, message

    def __str__(self) -> str:
        return self.message


class Ablated(NamedTuple):
    """A neuron that is to be set to the baseline, at one position, or at all where it is None."""

    layer: int
    neuron: int
    position: int | None = None


# ASCII, as \d means the digits of all scripts; few of them, so that a number fits its column.
_ABLATED = re.compile(r"(\d{1,6}):(\d{1,9})(?:@(\d{1,6}))?", re.ASCII)


def ablated_from(named: str) -> list[Ablated]:
    """Return the neurons that a person names: `5:131,6:12@3`, the second at a token alone.

    Raises:
        TextRefused: A part names none.
    """
    found = []
    for part in named.split(","):
        if (match := _ABLATED.fullmatch(part.strip())) is None:
            reason = f"{part[:100]!r} is no neuron such as 5:131, or 5:131@3 at a token"
            raise TextRefused("ablate", reason)
        layer, neuron, position = match.groups()
        found.append(Ablated(int(layer), int(neuron), int(position) if position else None))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTextRequest:
    """A text that is to be explained; see `db.tables.texts.TextRequestColumns`."""

    run_id: int
    text: str
    target: str | None = None
    versus: str | None = None
    baseline: str = "mean"
    ablate: Sequence[Ablated] = ()
    requested_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """A text as it is stored, and what was found about it, once it is done.

    Attributes:
        run: Name of the run.
        state: waiting, running, done or failed.
        error_class: Of one that failed: `text`, `target`, `baseline`, `ablate` (what was asked is
            at fault), or `collect`, `memory`, `nonfinite`, `died`, `cancelled`, `error`.
        message: Why it failed, for a person. It may quote the text.
    """

    id: int
    run_id: int
    run: str
    text: str
    target: str | None
    versus: str | None
    baseline: str
    ablate: list[Ablated]
    requested_by: str
    state: str
    error_class: str | None
    message: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: TextResult | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is still to be done."""
        return self.state in ("waiting", "running")

    @property
    def seconds(self) -> float | None:
        """How long the worker took, once it has ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


def submit(connection: Connection, request: NewTextRequest) -> int:
    """Store a text that is to be explained, and return its id.

    Raises:
        TextRefused: It is malformed, names what the run does not have, or comes too often. Two at
            the same moment may both become the last one that is taken.
    """
    run = _run_of(connection, request.run_id)
    _check_texts(request)
    _check_ablated(request.ablate, run.n_layers, run.neurons_per_layer)
    _check_room(connection, request.requested_by)
    values = {**asdict(request), "ablate": [list(place) for place in request.ablate]}
    statement = insert(text_request_table).values(values).returning(text_request_table.c.id)
    return int(connection.execute(statement).scalar_one())


def _run_of(connection: Connection, run_id: int) -> runs.StoredRun:
    try:
        run = runs.get(connection, run_id)
    except LookupError as error:
        raise TextRefused("run", str(error)) from error
    if run.state == "importing":
        raise TextRefused("run", f"run {run.name!r} is not imported yet")
    return run


def _check_texts(request: NewTextRequest) -> None:
    _check_text("text", request.text, MAX_CHARACTERS)
    for name in ("target", "versus"):
        token = getattr(request, name)
        if token is not None:
            _check_text(name, token, MAX_TARGET)
    if request.baseline not in BASELINES:
        raise TextRefused("text", f"baseline is neither of {' and '.join(BASELINES)}")


def _check_text(name: str, value: str, longest: int) -> None:
    if not value:
        raise TextRefused("text", f"{name} is empty")
    if len(value) > longest:
        raise TextRefused("text", f"{name} has {len(value):,} characters, more than {longest:,}")
    # Postgres stores neither.
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise TextRefused("text", f"{name} has NUL, or half of a surrogate pair, in it")


def _check_ablated(ablated: Sequence[Ablated], n_layers: int, neurons_per_layer: int) -> None:
    if len(ablated) > MAX_ABLATED:
        raise TextRefused("ablate", f"{len(ablated):,} neurons, more than {MAX_ABLATED:,}")
    for layer, neuron, position in ablated:
        if not (0 <= layer < n_layers and 0 <= neuron < neurons_per_layer):
            raise TextRefused(
                "ablate",
                f"there is no neuron {layer}:{neuron}: the model has layers 0 to {n_layers - 1} "
                f"with neurons 0 to {neurons_per_layer - 1}",
            )
        if position is not None and not 0 <= position < MAX_TOKENS:
            raise TextRefused("ablate", f"a text has no position {position}")


def _check_room(connection: Connection, requested_by: str) -> None:
    if waiting(connection) >= MAX_WAITING:
        raise TextRefused("queue", f"{MAX_WAITING} texts are waiting: try again later")
    columns = text_request_table.c
    lately = select(func.count()).where(
        columns.requested_by == requested_by,
        columns.created_at > func.now() - text("interval '1 minute'"),
    )
    if int(connection.scalar(lately) or 0) >= MAX_PER_MINUTE:
        raise TextRefused("rate", f"more than {MAX_PER_MINUTE} texts in a minute: wait a minute")


def waiting(connection: Connection, before: int | None = None) -> int:
    """Return how many requests are to be done, or how many of them come before one of this id."""
    columns = text_request_table.c
    query = select(func.count()).where(columns.state.in_(("waiting", "running")))
    if before is not None:
        query = query.where(columns.id < before)
    return int(connection.scalar(query) or 0)


_COLUMNS = [field.name for field in fields(TextRequest) if field.name not in ("run", "result")]


def load_request(
    connection: Connection, request_id: int, *, with_result: bool = True
) -> TextRequest:
    """Return a request, with what was found if it is done.

    Raises:
        LookupError: There is none with this id.
    """
    requests = _requests(connection, text_request_table.c.id == request_id)
    if not requests:
        raise LookupError(f"there is no text request {request_id}")
    (request,) = requests
    if request["state"] == "done" and with_result:
        request["result"] = load_result(connection, request["run_id"], request_id)
    return TextRequest(**request)


def recent_requests(connection: Connection, run_id: int, limit: int = 20) -> list[TextRequest]:
    """Return the latest requests of a run, the newest first, without what was found."""
    found = _requests(connection, text_request_table.c.run_id == run_id, limit)
    return [TextRequest(**request) for request in found]


def _requests(connection: Connection, condition: Any, limit: int = 1) -> list[dict[str, Any]]:
    columns = text_request_table.c
    query = (
        select(*(columns[name] for name in _COLUMNS), run_table.c.name)
        .join(run_table, run_table.c.id == text_request_table.c.run_id)
        .where(condition)
        .order_by(text_request_table.c.id.desc())
        .limit(limit)
    )
    found = [dict(zip([*_COLUMNS, "run"], row, strict=True)) for row in connection.execute(query)]
    return [{**row, "ablate": [Ablated(*place) for place in row["ablate"]]} for row in found]


def withdraw(connection: Connection, request_id: int) -> bool:
    """End a request that nobody waits for any more; return whether it was still to be done."""
    columns = text_request_table.c
    statement = (
        update(text_request_table)
        .where(columns.id == request_id, columns.state.in_(("waiting", "running")))
        .values(
            state="failed",
            error_class="cancelled",
            message="it was withdrawn",
            # Voids the claim of a worker that reads the text now.
            token=columns.token + 1,
            finished_at=func.now(),
        )
    )
    return connection.execute(statement).rowcount == 1
