"""Batches of runs that stop, and of shards that somebody else has by then."""

import pytest
from sqlalchemy import text

from db import batches, runs, shards
from db.session import transaction
from neurogloss.errors import LeaseLost
from neurogloss.llm.batch_client import BatchClient
from tests.support.calls import questions
from worker.stages.batches.requests import answers_from_batches


@pytest.mark.parametrize("moment", ["upload", "create"])
@pytest.mark.parametrize("state", ["paused", "cancelled"])
def test_a_run_that_stops_while_batches_are_created_creates_no_more(start, state, moment):
    run = start(limits={"max_lines": 2})

    class Stopping(BatchClient):
        """Stops the run after the first upload, or after the first batch."""

        def upload(self, *arguments):
            return self._stopping("upload", super().upload(*arguments))

        def create(self, *arguments):
            return self._stopping("create", super().create(*arguments))

        def _stopping(self, step, result):
            if step == moment:
                with transaction(run.engine) as connection:
                    connection.execute(text("UPDATE run SET state = :state"), {"state": state})
            return result

    run.ask(questions(8))
    run.advance(Stopping)
    states = [row[0] for row in run.rows()]
    assert states == (["uploaded"] if moment == "upload" else ["submitted"])
    assert run.scalar("SELECT count(*) FROM batch_request WHERE batch IS NULL") == 6
    if state == "cancelled":
        return
    with transaction(run.engine) as connection:
        runs.resume(connection, run.run_id)
    run.advance()
    assert [row[0] for row in run.rows() if row[0] != "ended"] == ["submitted"] * len(
        [row for row in run.rows() if row[0] != "ended"]
    )
    assert run.scalar("SELECT count(*) FROM batch") == 4


def test_a_worker_that_lost_its_shard_asks_nothing_again(start):
    run = start()
    frozen = run.claim()
    with transaction(run.engine) as connection:
        connection.execute(text("UPDATE shard SET lease_until = now() - interval '1 second'"))
        shards.sweep(connection, run.run_id)
    assert len(run.answers(questions(3))) == 3
    with transaction(run.engine) as connection:  # as it was when the frozen one looked
        connection.execute(text("DELETE FROM call"))
    with pytest.raises(LeaseLost):
        answers_from_batches(frozen, run.endpoint, questions(3))
    assert run.leaves_nothing()


def test_of_a_batch_that_is_created_twice_the_second_is_cancelled(start):
    run = start(seconds=60)
    created = []

    class Overtaken(BatchClient):
        """Is frozen before its request, so that another process creates the batch meanwhile."""

        def create(self, *arguments):
            created.append(super().create(*arguments))
            with transaction(run.engine) as connection:
                assert batches.submitted(connection, 1, created[0])
            created.append(super().create(*arguments))
            return created[1]

    run.ask(questions(3))
    run.advance(Overtaken)
    assert [(row[0], row[3]) for row in run.rows()] == [("submitted", created[0])]
    client = BatchClient(run.endpoint)
    states = [client.get(batch_id)["status"] for batch_id in created]
    client.close()
    assert states[0] in ("validating", "in_progress")
    assert states[1] in ("cancelling", "cancelled")
