"""Logs: a line on standard error for each event, for people or for machines.

An event is a constant message with its values as fields, which the standard library calls `extra`:
`log.info("shard finished", extra={"run": "mine", "shard": 812})`. docs/logs.md lists the events.
"""

import json
import logging
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO, TypeVar

import click

from neurogloss.errors import InputError
from orchestrator.cli.terminal.plain import plain

FORMAT_VARIABLE = "NEUROGLOSS_LOG_FORMAT"
LEVEL_VARIABLE = "NEUROGLOSS_LOG_LEVEL"
LEVELS = ("debug", "info", "warning", "error")
PACKAGES = ("neurogloss", "db", "worker", "orchestrator", "rehearsal")
PRINT_THEMSELVES = ("huggingface_hub", "transformers")  # packages, as soon as they are imported
FIRST_FIELDS = ("run", "stage", "shard", "worker", "attempt")
MAX_CHARACTERS = 500  # of a message or a value: servers may send pages
# What every record has: the rest was given as `extra`.
_NOT_FIELDS = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}

Command = TypeVar("Command", bound=Callable[..., Any])


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of a record, in the types of JSON: those that events share come first.

    Of other packages' records only these are taken: Celery passes whole tasks as `extra`.
    """
    own = record.name.partition(".")[0] in PACKAGES
    more = [name for name in vars(record) if name not in _NOT_FIELDS and name not in FIRST_FIELDS]
    names = [name for name in FIRST_FIELDS if hasattr(record, name)] + (more if own else [])
    return {name: _value(getattr(record, name)) for name in names}


def _value(value: Any) -> Any:
    is_number = isinstance(value, int | float) and math.isfinite(value)  # JSON has no infinity
    return value if value is None or is_number else _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}..."


def _timestamp(record: logging.LogRecord) -> str:
    """Return when an event was, in UTC, by ISO 8601 with milliseconds."""
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _exception_lines(record: logging.LogRecord) -> list[str]:
    """Return the traceback of a record, the cause of an exception before the exception.

    Of each message only the first line: the others, of an error of the database, quote rows.
    """
    lines: list[str] = []
    error = record.exc_info[1] if record.exc_info else None
    chain: list[BaseException] = []
    # A chain of causes can be a ring.
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for error in reversed(chain):
        frames = "".join(traceback.format_tb(error.__traceback__)).splitlines()
        first_line = next(iter(str(error).splitlines()), "")
        summary = f"{type(error).__name__}: {_cut(first_line)}"
        lines += ["Traceback (most recent call last):", *frames, summary]
    return lines


class TextFormatter(logging.Formatter):
    """Writes an event as a line for people; what servers say cannot act on a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and an indented traceback below it if there is one."""
        head = f"{_timestamp(record)} {record.levelname:<5} {record.name}"
        fields = (f"{name}={_quoted(value)}" for name, value in fields_of(record).items())
        line = "  ".join(filter(None, (head, plain(_cut(record.getMessage())), " ".join(fields))))
        return "\n".join([line, *(f"  {plain(text)}" for text in _exception_lines(record))])


def _quoted(value: Any) -> str:
    """Return a value as text that ends at the next space, in quotes where it has spaces itself."""
    text = plain(str(value))
    is_word = text and not any(c.isspace() or c in '"=' for c in text)
    return text if is_word else '"' + text.replace('"', '\\"') + '"'


class JsonFormatter(logging.Formatter):
    """Writes an event as an object of JSON on one line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback is the field `exception`."""
        event = {
            "timestamp": _timestamp(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _cut(record.getMessage()),
            **fields_of(record),
        }
        if lines := _exception_lines(record):
            event["exception"] = "\n".join(lines)
        return json.dumps(event)


FORMATS: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to the standard error of the moment: a live table puts what it is sent above itself.

    Attributes:
        constant: Fields of every event, such as the name of the worker.
        format_name: One of `FORMATS`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.constant: dict[str, Any] = {}
        self.format_name = "text"

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        vars(record).update({k: v for k, v in self.constant.items() if k not in vars(record)})
        super().emit(record)


class _Forwarding(logging.Logger):
    """The logger of a package that would print its events itself: it leaves them to ours."""

    def addHandler(self, hdlr: logging.Handler) -> None:  # noqa: N802  (of the standard library)
        """Take none."""

    @property
    def propagate(self) -> bool:
        return True

    @propagate.setter
    def propagate(self, value: bool) -> None:
        pass


_handler = _Handler()


def set_up(env: Mapping[str, str] = os.environ) -> None:
    """Log warnings as text, or what the environment says.

    It comes before packages are imported that print what they log, or that is printed twice.

    Raises:
        InputError: A variable has none of its values.
    """
    root = logging.getLogger()
    if _handler not in root.handlers:
        root.addHandler(_handler)
        _forward(PRINT_THEMSELVES)
    set_format(_read(env, FORMAT_VARIABLE, tuple(FORMATS), "text"))
    set_level(_read(env, LEVEL_VARIABLE, LEVELS, "warning"))


def _forward(packages: Iterable[str]) -> None:
    usual = logging.getLoggerClass()
    logging.setLoggerClass(_Forwarding)
    for package in packages:
        logging.getLogger(package)
    logging.setLoggerClass(usual)


def _read(env: Mapping[str, str], name: str, values: tuple[str, ...], default: str) -> str:
    value = (env.get(name) or default).lower()
    if value not in values:
        raise InputError(f"{name} = {value!r} is none of {', '.join(values)}")
    return value


def set_format(name: str) -> None:
    """Set the format of all events to come."""
    _handler.format_name = name
    _handler.setFormatter(FORMATS[name]())


def format_name() -> str:
    """Return the format of the events of this process."""
    return _handler.format_name


def set_level(name: str) -> None:
    """Log events of this level and above; of other packages, warnings and above at any level.

    Their lines about HTTP requests and SQL statements would quote prompts and answers.
    """
    level = logging.getLevelNamesMapping()[name.upper()]
    for package in PACKAGES:
        logging.getLogger(package).setLevel(level)
    logging.getLogger().setLevel(max(level, logging.WARNING))


def set_constant_fields(**fields: Any) -> None:
    """Set fields that every event of this process has."""
    _handler.constant = fields


def level_beside_a_display() -> str:
    """Return the default level of a command that shows progress, live if it is on a terminal."""
    from rich.console import Console  # late: other commands start without it

    return "warning" if Console().is_terminal else "info"


def log_options(default_level: Callable[[], str]) -> Callable[[Command], Command]:
    """Give a command the options `--log-format` and `--log-level`."""

    def on_format(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        if value is not None:
            set_format(value)

    def on_level(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        set_level(value or default_level())

    def decorate(command: Command) -> Command:
        with_level = click.option(
            "--log-level",
            type=click.Choice(LEVELS, case_sensitive=False),
            envvar=LEVEL_VARIABLE,
            expose_value=False,
            callback=on_level,
            help="Lowest level that is logged on standard error; events of a run are at info.",
        )
        with_format = click.option(
            "--log-format",
            type=click.Choice(tuple(FORMATS), case_sensitive=False),
            envvar=FORMAT_VARIABLE,
            expose_value=False,
            callback=on_format,
            help="Format of the log: text for people, json (one object per line) for machines.",
        )
        return with_format(with_level(command))

    return decorate
