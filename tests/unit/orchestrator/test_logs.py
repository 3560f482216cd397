"""Events as lines for people and for machines."""

import json
import logging
import subprocess
import sys

import pytest

from neurogloss.errors import InputError
from orchestrator.cli import logs
from orchestrator.cli.logs import FORMATS, JsonFormatter, TextFormatter

CREATED = 1795764121.12345  # 2026-11-27T07:22:01.123Z
CLAIMED = {"seconds": 4.2, "attempt": 1, "shard": 812, "stage": "simulate", "run": "mine"}
HOSTILE = "a\x1b[2J\u202eb\n2026-11-27T07:22:01.123Z INFO  worker.process  shard finished\x00\r\x9b"
CAUSE = "duplicate row\nDETAIL: the prompt"
ERROR = "not a number\nDETAIL: the answer"


def record(message="shard finished", name="worker.process", level=logging.INFO, **fields):
    made = logging.makeLogRecord(
        {"name": name, "msg": message, "levelno": level, "levelname": logging.getLevelName(level)}
    )
    vars(made).update(fields, created=CREATED)
    return made


def failed(message="shard failed", **fields):
    """Return the record of an error that another one caused; both messages have two lines."""
    try:
        try:
            raise RuntimeError(CAUSE)
        except RuntimeError as cause:
            raise ValueError(ERROR) from cause
    except ValueError:
        return record(message, level=logging.ERROR, exc_info=sys.exc_info(), **fields)


def test_a_line_for_people_has_time_level_logger_event_and_fields_in_order():
    line = TextFormatter().format(record(**CLAIMED))
    assert line == (
        "2026-11-27T07:22:01.123Z INFO  worker.process  shard finished  "
        "run=mine stage=simulate shard=812 attempt=1 seconds=4.2"
    )


def test_a_line_for_machines_has_the_same_fields_with_their_types():
    assert json.loads(JsonFormatter().format(record(**CLAIMED))) == {
        "timestamp": "2026-11-27T07:22:01.123Z",
        "level": "INFO",
        "logger": "worker.process",
        "message": "shard finished",
        **CLAIMED,
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [("a b", '"a b"'), ('a="b"', '"a=\\"b\\""'), ("", '""'), (None, "None"), ("é", "é")],
)
def test_a_value_that_is_no_word_is_quoted(value, text):
    assert TextFormatter().format(record(reason=value)).endswith(f"  reason={text}")


@pytest.mark.parametrize("name", FORMATS)
def test_a_traceback_tells_the_cause_first_and_quotes_no_second_line(name):
    output = FORMATS[name]().format(failed(run="mine"))
    assert output.index("RuntimeError: duplicate row") < output.index("ValueError: not a number")
    assert "in failed" in output
    assert "DETAIL" not in output


def test_a_traceback_is_indented_for_people_and_a_field_for_machines():
    first, *others = TextFormatter().format(failed(run="mine")).splitlines()
    assert first.endswith("shard failed  run=mine")
    assert others
    assert all(line.startswith("  ") for line in others)
    event = json.loads(JsonFormatter().format(failed(run="mine")))
    assert event["exception"].splitlines()[-1] == "ValueError: not a number"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("place", ["message", "reason"])
def test_what_a_server_says_is_one_harmless_line(name, place):
    output = FORMATS[name]().format(record(**{place: HOSTILE}))
    assert output.isprintable()
    assert "[2J" in output


def test_the_message_of_an_error_is_harmless():
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        made = record(exc_info=sys.exc_info())
    lines = TextFormatter().format(made).splitlines()
    assert all(line.isprintable() for line in lines)
    assert sum(line.startswith("2026") for line in lines) == 1


@pytest.mark.parametrize("name", FORMATS)
def test_a_long_value_is_cut(name):
    assert len(FORMATS[name]().format(record("x" * 10_000, reason="y" * 10_000))) < 1300


def test_numbers_that_json_lacks_and_objects_become_text():
    event = json.loads(JsonFormatter().format(record(usd=float("inf"), kind=["a"])))
    assert (event["usd"], event["kind"]) == ("inf", "['a']")


def test_other_packages_add_no_fields_of_their_own():
    made = record("task failed", name="celery.app.trace", data={"args": "[7]"}, worker="api-1")
    event = json.loads(JsonFormatter().format(made))
    assert event["worker"] == "api-1"
    assert "data" not in event


@pytest.fixture
def quiet():
    """Undo what a test sets of the logs of this process."""
    yield
    logs.set_up({})
    logs.set_constant_fields()


@pytest.mark.parametrize("package", ["httpcore", "sqlalchemy.engine", "aiohttp", "celery"])
def test_other_packages_log_no_more_than_warnings_at_any_level(quiet, package):
    logs.set_up({"NEUROGLOSS_LOG_LEVEL": "debug"})
    assert logging.getLogger("worker.process").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger(package).isEnabledFor(logging.INFO)


def test_the_environment_sets_format_and_level_and_constant_fields_are_in_every_event(
    quiet, capsys
):
    logs.set_up({"NEUROGLOSS_LOG_FORMAT": "JSON", "NEUROGLOSS_LOG_LEVEL": "info"})
    logs.set_constant_fields(worker="api-1@here")
    logging.getLogger("worker.process").info("worker started", extra={"queue": "api"})
    logging.getLogger("worker.process").debug("not this")
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert (event["message"], event["worker"], event["queue"]) == (
        "worker started",
        "api-1@here",
        "api",
    )


def test_an_unknown_level_is_refused_with_its_name(quiet):
    with pytest.raises(InputError, match="NEUROGLOSS_LOG_LEVEL = 'loud'"):
        logs.set_up({"NEUROGLOSS_LOG_LEVEL": "loud"})


def test_packages_that_print_themselves_leave_that_to_our_handler():
    program = """
from orchestrator.cli import logs
logs.set_up({"NEUROGLOSS_LOG_FORMAT": "json"})
from huggingface_hub.utils import logging as hub
from transformers.utils import logging as models
hub.get_logger("huggingface_hub.utils").warning("of the hub")
models.get_logger("transformers.models").warning("of a model")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["message"] for event in events] == ["of the hub", "of a model"]
