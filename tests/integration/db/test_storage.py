from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from db import corpora, parked_shards, progress, results, retry, runs, shard_readiness, shards
from db.bulk import fetch_bytes
from db.results import ExplanationRow, FailureRow
from db.tables.schema import METADATA
from tests.support.shards import LEASE_S, claim


def counts(engine, stage):
    with engine.begin() as connection:
        row = next(r for r in progress.stages(connection, "r") if r.stage == stage)
        return row.done, row.failed


def hand_in(engine, held, failures=()):
    with engine.begin() as connection:
        assert shards.finish(connection, held)
        results.failures.save(connection, failures)
        progress.count_shard(connection, held.shard_id)


def test_migrations_build_the_tables_that_the_code_declares(engine):
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_vocabulary_and_its_corpus_are_stored_once(engine, run_id):
    with engine.begin() as connection:
        assert corpora.save_vocabulary(connection, "v", ["other"]) == 1
        assert corpora.token_texts(connection, 1) == ["a", "b�"]


def test_a_claimed_shard_is_not_claimed_again(engine, run_id):
    assert claim(engine) is not None
    assert claim(engine, "other") is None


def test_a_shard_whose_lease_ran_out_is_claimed_by_another(engine, run_id):
    late = claim(engine, lease_s=-1)
    other = claim(engine, "other")
    assert other.token == late.token + 1


def test_who_lost_the_lease_cannot_hand_in(engine, run_id):
    late = claim(engine, lease_s=-1)
    claim(engine, "other")
    with engine.begin() as connection:
        assert not shards.finish(connection, late)
        assert not shards.release(connection, late)
        assert shards.renew(connection, [late], LEASE_S) == set()


def test_a_paused_run_gives_no_shards(engine, run_id):
    with engine.begin() as connection:
        assert runs.pause(connection, run_id, "credit", "nothing left")
        assert not runs.pause(connection, run_id, "other", "later reasons do not count")
        assert runs.get(connection, run_id).pause_reason == "nothing left"
    assert claim(engine) is None


def test_the_sweep_takes_back_what_nobody_works_on_and_counts_what_had_a_worker(engine, run_id):
    claim(engine, lease_s=-1)
    with engine.begin() as connection:
        assert len(shards.queue(connection, run_id, ["explain"], 1, -1)) == 1
        assert shards.sweep(connection, run_id) == 1
        left = "SELECT count(*) FROM shard WHERE state IN ('queued', 'leased')"
        assert connection.scalar(text(left)) == 0


def test_a_released_shard_has_spent_no_attempt(engine, run_id):
    held = claim(engine)
    with engine.begin() as connection:
        assert shards.release(connection, held)
    assert claim(engine).attempts == 1


def test_shards_are_queued_once_whoever_asks(engine, run_id):
    with engine.begin() as one, engine.begin() as other:
        first = shards.queue(one, run_id, ["explain"], 1, LEASE_S)
        second = shards.queue(other, run_id, ["explain"], 5, LEASE_S)
    assert len(first) == len(second) == 1
    assert first != second


def test_a_stage_opens_when_the_same_neurons_are_done(engine, run_id):
    hand_in(engine, claim(engine))
    with engine.begin() as connection:
        shard_readiness.open_ready(connection, run_id)
        assert shards.count_open(connection, run_id)["simulate", "ready"] == 1
        assert ("score", "ready") not in shards.count_open(connection, run_id)


def test_a_failed_neuron_counts_in_its_stage(engine, run_id):
    held = claim(engine)
    hand_in(engine, held, [FailureRow(run_id, "explain", 0, 1, "refused", "no", 1, None)])
    assert counts(engine, "explain") == (1, 1)
    with engine.begin() as connection:
        assert progress.failures(connection, "r")[0].failure_class == "refused"
        assert results.neuron_summary(connection, "r", 0, 1).state == "failed"
        assert results.neuron_summary(connection, "r", 0, 0).state == "waiting"


def test_retry_opens_the_shard_and_takes_its_counts_back(engine, run_id):
    hand_in(engine, claim(engine), [FailureRow(run_id, "explain", 0, 1, "refused", "no", 1, None)])
    with engine.begin() as connection:
        assert retry.retry_failures(connection, run_id, failure_class="other") == 0
        assert retry.retry_failures(connection, run_id, failure_class="refused") == 1
        assert results.retries(connection, run_id, "explain", 0, 0, 4) == {1: 1}
    assert counts(engine, "explain") == (0, 0)
    hand_in(engine, claim(engine))
    assert counts(engine, "explain") == (2, 0)


def test_neurons_of_an_exhausted_shard_fail_with_its_error(engine, run_id):
    for _ in range(shards.MAX_ATTEMPTS):
        held = claim(engine)
        with engine.begin() as connection:
            shards.fail(connection, held, "KeyError: 3")
    with engine.begin() as connection:
        (shard,) = parked_shards.exhausted(connection, run_id)
        parked_shards.give_up(connection, shard.id)
        progress.count_shard(connection, shard.id)
        (failure,) = progress.failures(connection, "r")
    assert (failure.n, failure.failure_class, failure.example) == (2, "error", "KeyError: 3")
    assert counts(engine, "explain") == (0, 2)


def test_the_first_explanation_of_a_neuron_stands(engine, run_id):
    with engine.begin() as connection:
        first, second = (ExplanationRow(run_id, 0, 1, text, "m") for text in ("first", "second"))
        assert results.explanations.save(connection, [first]) == 1
        assert results.explanations.save(connection, [second]) == 0
        assert results.explanation_texts(connection, run_id, 0, 0, 4) == {1: "first"}


def test_only_rows_that_are_new_are_stored(engine, run_id):
    with engine.begin() as connection:
        assert explain(connection, run_id, [0, 1]) == 2
        assert explain(connection, run_id, [1, 2]) == 1
        assert explain(connection, run_id, [3]) == 1
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM explanation")) == 4


def explain(connection, run_id, neurons):
    return results.explanations.save(
        connection, [ExplanationRow(run_id, 0, neuron, "text", "test") for neuron in neurons]
    )


def test_bytes_come_as_they_are_stored(engine):
    with engine.begin() as connection:
        query = "SELECT decode(%s, 'hex'), NULL, 258 UNION ALL SELECT ''::bytea, 'x', 1"
        rows = [
            [bytes(value) for value in row] for row in fetch_bytes(connection, query, ("00ff",))
        ]
    assert rows == [[b"\0\xff", b"", b"\0\0\1\2"], [b"", b"x", b"\0\0\0\1"]]


def test_search_takes_percent_signs_as_they_are(engine, run_id):
    with engine.begin() as connection:
        texts = {1: "100% sure", 2: "1000 sheep"}
        rows = [ExplanationRow(run_id, 0, neuron, text, "m") for neuron, text in texts.items()]
        results.explanations.save(connection, rows)
        assert [row.neuron for row in results.search(connection, "r", "0%", 9)] == [1]
