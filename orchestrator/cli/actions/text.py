"""What the command `text` does: which neurons answer to a text."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import click
from rich.console import Console
from sqlalchemy import Engine

from db import texts
from db.session import transaction
from db.texts import Ablated, NewTextRequest, TextRefused, TextRequest
from neurogloss.errors import InputError
from orchestrator.cli.logs import FORMAT_VARIABLE, format_name
from orchestrator.cli.run_lookup import find_run
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.plain import plain
from orchestrator.cli.terminal.text import text_page
from orchestrator.cli.terminal.whole_table import output_console
from orchestrator.environment import find_environment, open_database
from orchestrator.text_worker import TextWorker
from worker.outages import retry_while_db_down

POLL_S = 0.2
NO_WORKER_S = 60.0  # that a GPU worker is waited for which is not ours to start
_ASKED = ("text", "target", "baseline", "ablate")  # classes of failures by what was asked


def text(
    text: str,
    target: str | None,
    versus: str | None,
    name: str | None,
    top: int,
    ablate: str | None,
    baseline: str,
    as_json: bool,
) -> None:
    environment = find_environment()
    engine = open_database(environment)
    request = NewTextRequest(
        run_id=find_run(engine, name).id,
        text=text,
        target=target,
        versus=versus,
        baseline=baseline,
        ablate=_ablated(ablate),
        requested_by="neurogloss text",
    )
    with TextWorker(environment, engine, {FORMAT_VARIABLE: format_name()}) as worker:
        answered = _answer(engine, request, worker)
    if answered.result is None:
        _fail(answered)
    elif as_json:
        print_json(answered.result.as_json(top))
    else:
        output_console().print(text_page(answered, answered.result, top))


def _ablated(given: str | None) -> list[Ablated]:
    """Return the neurons that `--ablate` names.

    Raises:
        InputError: It names none.
    """
    try:
        return [] if given is None else texts.ablated_from(given)
    except TextRefused as error:
        raise InputError(f"--ablate {error}") from error


def _answer(engine: Engine, request: NewTextRequest, worker: TextWorker) -> TextRequest:
    """Submit a text and return it as it ended; it is withdrawn if nobody waits for it any more."""
    with transaction(engine) as connection:
        request_id = texts.submit(connection, request)
    try:
        with _progress() as say:
            _wait(engine, request_id, worker, say)
    except BaseException:
        with transaction(engine) as connection:
            texts.withdraw(connection, request_id)
        raise
    with transaction(engine) as connection:
        return texts.load_request(connection, request_id)


def _wait(engine: Engine, request_id: int, worker: TextWorker, say: Callable[[str], None]) -> None:
    """Return when a request has ended.

    Raises:
        InputError: No GPU worker runs, and none is ours to start.
    """
    began = time.monotonic()
    while True:
        request, before = retry_while_db_down(lambda: _state(engine, request_id))
        if not request.is_open:
            return
        has_worker = retry_while_db_down(worker.ensure)
        if not has_worker and time.monotonic() - began > NO_WORKER_S:
            raise InputError("no GPU worker runs: start one by `neurogloss worker gpu`")
        say(_progress_line(request, before, has_worker, time.monotonic() - began))
        time.sleep(POLL_S)


def _state(engine: Engine, request_id: int) -> tuple[TextRequest, int]:
    with transaction(engine) as connection:
        request = texts.load_request(connection, request_id, with_result=False)
        return request, texts.waiting(connection, before=request_id)


def _progress_line(request: TextRequest, before: int, has_worker: bool, seconds: float) -> str:
    if request.state == "running":
        doing = "a worker reads the text"
    elif not has_worker:
        doing = "no GPU worker runs: waiting for one"
    else:
        doing = "waiting for a GPU worker" + (f", {before} texts come before" if before else "")
    return f"{doing} ({seconds:.0f} s)"


def _progress() -> AbstractContextManager[Callable[[str], None]]:
    """Return a context with what shows a line of progress, on a terminal alone."""
    console = Console(stderr=True)
    return _Status(console) if console.is_terminal else nullcontext(lambda line: None)


class _Status(AbstractContextManager[Callable[[str], None]]):
    def __init__(self, console: Console) -> None:
        self._status = console.status("")

    def __enter__(self) -> Callable[[str], None]:
        return self._status.__enter__().update

    def __exit__(self, *error: object) -> None:
        self._status.stop()


def _fail(request: TextRequest) -> None:
    """End the command with the reason.

    Raises:
        InputError: What was asked is at fault.
        ClickException: Something else is.
    """
    reason = request.message or "no reason is stored"
    if request.error_class in _ASKED:
        raise InputError(reason)
    raise click.ClickException(plain(f"{request.error_class}: {reason}"))
