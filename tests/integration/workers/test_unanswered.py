"""What is told of calls that bring no answer, while they are tried again and afterwards."""

import json
import time

from sqlalchemy import text

from db.run_status import status_of
from db.runs import get
from db.session import transaction
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.paid_run import KEY, Run

LIMIT = "jsonb_set(config::jsonb, '{endpoints,here,timeout_s}', '%s')"


def set_timeout(run, seconds):
    with run.engine.begin() as connection:
        connection.execute(text(f"UPDATE run SET config = {LIMIT % seconds}"))  # noqa: S608


def status(run):
    with transaction(run.engine) as connection:
        return json.loads(json.dumps(status_of(connection, get(connection, run.id)), default=str))


def test_timeouts_show_in_status_while_they_happen_and_are_gone_from_it_when_they_end(
    engine, workers
):
    with RehearsalServer(RehearsalOptions(api_key=KEY, latency_ms=1000)) as server:
        run = Run(engine, server)
        set_timeout(run, 0.5)
        workers.start("one")
        shown, began = [], time.monotonic()

        def look():
            shown[:] = status(run)["unanswered"] or shown
            if shown and time.monotonic() > began + 4:
                set_timeout(run, 10)

        assert run.follow(look) == "done"
        assert run.value("SELECT count(*) FROM call WHERE purpose = 'simulate'") > 0
    (calls,) = shown
    assert (calls["stage"], calls["endpoint"], calls["model"]) == ("simulate", "here", "rehearsal")
    assert calls["requests"]["timeout"] >= 1
    (after,) = status(run)["unanswered"]
    assert (after["retried"], after["reason"]) == (0, "")
    assert run.value("SELECT count(*) FROM retried_calls") == 0
    assert "it is not complete after 0.5 s" in workers.logs()
