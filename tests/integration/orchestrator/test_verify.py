"""What `verify` finds in a run that was damaged in one place, and what it does not find."""

import threading

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, text

from db import devices, listed_neurons, repair, retry, runs
from db.session import transaction
from orchestrator.cli.main import cli
from orchestrator.verify import verify
from orchestrator.verify.differences import EXAMPLES, Difference, Findings
from orchestrator.verify.verify import find_differences
from tests.support.small_run import finish

ONE = "(layer, neuron) = (SELECT layer, neuron FROM score WHERE score IS NOT NULL LIMIT 1)"


def differences(engine, processes=1):
    with transaction(engine) as connection:
        run = runs.latest(connection)
    return [str(found) for found in find_differences(engine, run.id, lambda *_: None, processes)]


def damage(engine, statement):
    with engine.begin() as connection:
        assert connection.execute(text(statement.replace("{ONE}", ONE))).rowcount, (
            "nothing was damaged"
        )
    list_again(engine)


def list_again(engine):
    """Make lists show the damaged results: what is found is to be the damage alone."""
    with transaction(engine) as connection:
        listed_neurons.renew(connection, 1, runs.layers_of(connection, 1))


def test_an_undisturbed_run_is_whole_and_has_failures_of_its_own(whole):
    with whole.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM failure")) > 0
        assert connection.scalar(text("SELECT count(score) FROM score")) > 10
        assert connection.scalar(text("SELECT sum(wasted_usd) FROM spend")) > 0
    assert differences(whole) == []


def test_several_processes_find_what_one_does(whole, monkeypatch):
    monkeypatch.setattr(verify, "FEW", 0)
    damage(whole, "UPDATE score SET score = score + 1 WHERE score IS NOT NULL AND neuron % 2 = 0")
    damage(whole, "DELETE FROM explanation WHERE neuron % 3 = 0")
    found = differences(whole)
    assert len({line.partition("neuron")[0] for line in found}) > 3  # of several layers
    assert differences(whole, processes=2) == found


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE progress SET done = done + 1 WHERE stage = 'explain' AND layer = 0",
         "progress: explain layer 0: done is "),
        ("DELETE FROM progress WHERE stage = 'score' AND layer = 3",
         "progress: score layer 3: total is missing, by its rows 12"),
        ("UPDATE progress SET total = 7 WHERE stage = 'collect'",
         "progress: collect: total is 7, by its rows 192"),
        ("UPDATE shard SET failed = failed + 1, done = done - 1 WHERE stage = 'simulate'",
         "(simulate layer 0, "),
        ("UPDATE shard SET weight = 4 WHERE stage = 'collect' AND step = 'reference'",
         "weight is 4, by its rows 32"),
        ("UPDATE spend SET usd = usd * 1.001 WHERE stage = 'simulate'",
         "spend: simulate rehearsal: usd is "),
        ("UPDATE spend SET calls = calls - 1 WHERE stage = 'explain'",
         "spend: explain rehearsal: calls is "),
        ("UPDATE throughput SET finished = finished - 1 WHERE stage = 'score'",
         "throughput: score: "),
        ("DELETE FROM shard WHERE id = (SELECT min(id) FROM shard WHERE stage = 'simulate')",
         "shards: simulate layer 0: shards cover 7 of 12"),
        ("UPDATE shard SET start = start - 1 WHERE id = "
         "(SELECT max(id) FROM shard WHERE stage = 'collect' AND step = 'read')",
         "overlap"),
        ("DELETE FROM shard WHERE stage = 'collect' AND step = 'select' AND layer = 3",
         "shards: collect select layer 3: shards cover 0 of 1"),
        ("UPDATE shard SET state = 'ready' WHERE id = (SELECT max(id) FROM shard)",
         "it is done, but 1 shards are not"),
        ("UPDATE score SET score = score * 1.0000000000000003 WHERE {ONE}",
         "scores: layer 0 neuron "),
        ("UPDATE score SET rsquared = NULL WHERE {ONE}", "rsquared is None, by its rows "),
        ("UPDATE score SET undefined_reason = 'dead' WHERE {ONE}",
         "undefined_reason is dead, by its rows None"),
        ("DELETE FROM score WHERE {ONE}", "it has neither a score nor a failure"),
        ("DELETE FROM explanation WHERE {ONE}", "nor a reason for none"),
        ("DELETE FROM failure WHERE stage = 'simulate'",
         "results: layer"),
        ("INSERT INTO failure SELECT run_id, 'explain', layer, neuron, 'x', 'x', 1 FROM explanation"
         " LIMIT 1", "it has an explanation, and a failure in its place"),
        ("DELETE FROM simulation WHERE {ONE} AND excerpt = (SELECT min(excerpt) FROM simulation"
         " WHERE {ONE})", "the simulation on excerpt"),
        ("UPDATE simulation SET expected_activations = set_byte(expected_activations, 0, 1) "
         "WHERE {ONE} AND get_byte(expected_activations, 0) <> 1", "scores: layer 0 neuron"),
        ("UPDATE simulation SET expected_activations = '\\x0000' WHERE {ONE}",
         "has not 16 activations"),
        ("UPDATE simulation SET excerpt = 95 - excerpt WHERE {ONE}", "excerpt"),
        ("UPDATE simulation SET distribution = '\\x0000' WHERE {ONE}", "is not of 16 tokens"),
        ("DELETE FROM call WHERE identity = (SELECT call FROM explanation LIMIT 1)",
         "its explanation names call"),
        ("DELETE FROM call WHERE identity = (SELECT call FROM simulation LIMIT 1)",
         "its simulation names call"),
        ("DELETE FROM neuron WHERE (layer, neuron) = (SELECT layer, min(neuron) FROM neuron "
         "WHERE layer = 0 GROUP BY 1)", "but it is not in the run"),
        ("DELETE FROM neuron_records WHERE {ONE}", "it has no records"),
        ("DELETE FROM excerpt WHERE excerpt = 17", "references: excerpt 17: it is missing"),
        ("UPDATE excerpt SET tokens = substring(tokens, 1, 60) WHERE excerpt = 18",
         "references: excerpt 18: it has 15 tokens, not 16"),
        ("UPDATE excerpt SET tokens = '\\xffffff7f' || substring(tokens, 5) WHERE excerpt = 19",
         "references: excerpt 19: it names a token"),
        ("UPDATE neuron_records SET max_activation = max_activation + 1 WHERE {ONE}",
         "max_activation is "),
        ("UPDATE neuron_records SET mean = 1e6 WHERE {ONE}", "is above max_activation"),
        ("UPDATE neuron_records SET variance = 0 WHERE {ONE}", "is too far from mean"),
        ("UPDATE neuron_records SET variance = -1 WHERE {ONE}", "are not valid moments"),
        ("UPDATE neuron_records SET kurtosis = 0.5 WHERE {ONE}", "is too small for skewness"),
        ("UPDATE neuron_records SET n_tokens = n_tokens + 1 WHERE {ONE}",
         "n_tokens is 1537, the corpus has 1536"),
        ("UPDATE neuron_records SET undefined_reason = 'dead' WHERE {ONE}",
         "undefined_reason is dead, by its records None"),
        ("UPDATE neuron_records SET top_records = top_records[2:] || top_records[1] WHERE {ONE}",
         "the top records are not in order"),
        ("UPDATE neuron_records SET top_records = trim_array(top_records, 1) WHERE {ONE}",
         "there are 7 top records, not 8"),
        ("UPDATE neuron_records SET random_records = random_records[2:] || random_records[1]"
         " WHERE {ONE}", "the random records are not in order"),
        ("UPDATE neuron_records SET excerpts[random_records[1] + 1] = (SELECT max(e) FROM"
         " generate_series(48, 95) AS e WHERE e <> ALL(excerpts)) WHERE {ONE}",
         "the random records are not those that the seed draws"),
        ("UPDATE neuron_records SET buckets = array_fill(0::int2, ARRAY[cardinality(buckets)])"
         " WHERE {ONE}", "by its maximum in "),
        ("UPDATE neuron_records SET quantile_boundaries[1] = 1e9 WHERE {ONE}",
         "are not 4 rising numbers"),
        ("UPDATE neuron_records SET excerpts[1] = 96 WHERE {ONE}",
         "excerpt 96 is not in the corpus"),
        ("UPDATE neuron_records SET excerpts[1] = excerpts[2] WHERE {ONE}",
         "an excerpt has two records"),
        ("UPDATE neuron_records SET top_records[1] = 99 WHERE {ONE}",
         "a list names a record that is not among"),
        ("UPDATE neuron_records SET excerpts = '{}', activations = '' WHERE {ONE}",
         "a list names a record that is not among its 0"),
        ("UPDATE neuron_records SET excerpts = '{}', activations = '', top_records = '{}',"
         " random_records = '{}', bucket_records = '{}', buckets = '{}' WHERE {ONE}",
         "there are 0 top records, not 8"),
        ("UPDATE neuron_records SET activations = substring(activations, 3) WHERE {ONE}",
         " records need "),
        ("UPDATE neuron_records SET activations = set_byte(set_byte(activations, 0, 0), 1, 124) "
         "WHERE {ONE}", "an activation is not finite"),
    ],
)  # fmt: skip
def test_damage_is_found_and_named(whole, statement, found):
    damage(whole, statement)
    lines = differences(whole)
    assert any(found in line for line in lines), lines


@pytest.mark.parametrize(
    ("table", "column"),
    [("neuron_records", "activations"), ("simulation", "expected_activations")],
)
def test_a_neuron_whose_bytes_are_no_array_is_named_and_the_others_are_checked(
    whole, table, column
):
    scored = "SELECT neuron FROM score WHERE layer = 0 AND score IS NOT NULL ORDER BY neuron"
    with whole.begin() as connection:
        one, *_, other = connection.scalars(text(scored))
    damage(
        whole,
        f"UPDATE {table} SET {column} = substring({column}, 2) WHERE layer = 0 AND neuron = {one}",  # noqa: S608
    )
    damage(whole, f"UPDATE score SET score = 2 WHERE layer = 0 AND neuron = {other}")  # noqa: S608
    corrupt, wrong = differences(whole)
    place = f"layer 0 neuron {one}"
    assert corrupt.startswith(f"records: {place}: {table}.{column} of {place} has ")
    assert corrupt.endswith(" bytes, which are not whole numbers")
    assert wrong.startswith(f"scores: layer 0 neuron {other}: score is 2.0, by its rows ")


COUNTERS = (
    "UPDATE progress SET done = 0, failed = 99, total = 1 WHERE layer = 0",
    "DELETE FROM progress WHERE stage = 'score'",
    "UPDATE shard SET failed = 3, done = 9 WHERE stage = 'simulate'",
    "UPDATE spend SET usd = 0, calls = 1, completion_tokens = 7",
    "INSERT INTO spend SELECT run_id, 'score', 'none', 1, 1, 1, 1, 1, 1 FROM spend LIMIT 1",
)


def test_repair_sets_counters_to_what_the_rows_say(whole):
    for statement in COUNTERS:
        damage(whole, statement)
    assert differences(whole)
    for mend in (repair.repair_shards, repair.repair_spend):
        with transaction(whole) as connection:
            assert mend(connection, 1) > 0
    assert differences(whole) == []
    for mend in (repair.repair_shards, repair.repair_spend):
        with transaction(whole) as connection:
            assert mend(connection, 1) == 0


def test_the_command_names_each_difference_repairs_counters_and_nothing_else(
    whole, whole_url, services, monkeypatch
):
    monkeypatch.setenv("DATABASE_URL", whole_url)
    monkeypatch.setenv("REDIS_URL", services.redis_url)

    def run(*arguments):
        result = CliRunner().invoke(cli, ["verify", *arguments])
        return result.exit_code, result.output

    assert run() == (0, "run whole: no difference\n")
    damage(whole, COUNTERS[0])
    damage(whole, "DELETE FROM score WHERE {ONE}")
    code, output = run("whole")
    assert code == 1
    assert "progress: explain layer 0: total is 1, by its rows 12" in output
    code, output = run("--repair", "--json")
    assert code == 1
    assert '"repaired": 3' in output
    assert '"results": 1' in output
    assert '"progress"' not in output


def test_verify_and_status_say_that_devices_differ(whole, whole_url, services, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", whole_url)
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    with whole.begin() as connection:
        for device in ("NVIDIA H100", "NVIDIA A100"):
            devices.note(connection, 1, device)
    for command in ("verify", "status"):
        result = CliRunner().invoke(cli, [command])
        assert result.exit_code == 0
        said = " ".join(result.output.split())
        assert "3 kinds of device" in said
        assert "NVIDIA A100; NVIDIA H100" in said


def test_a_run_that_is_not_finished_is_whole_too(whole):
    with whole.begin() as connection:
        connection.execute(text("UPDATE run SET state = 'paused'"))
        connection.execute(
            text("UPDATE shard SET state = 'ready', done = 0, failed = 0 WHERE stage = 'score'")
        )
        connection.execute(text("UPDATE progress SET done = 0, failed = 0 WHERE stage = 'score'"))
        connection.execute(text("DELETE FROM score"))
    list_again(whole)
    assert differences(whole) == []


def test_of_many_differences_all_are_counted_and_the_first_are_kept():
    found = Findings()
    kept = list(found.add(Difference("scores", str(n), "x") for n in range(EXAMPLES + 5)))
    assert (found.counts["scores"], len(kept), len(found.examples)) == (EXAMPLES + 5, 1000, 1000)


def reopen_scores(engine):
    with engine.begin() as connection:
        for statement in (
            "UPDATE run SET state = 'running'",
            "UPDATE shard SET state = 'ready', done = 0, failed = 0 WHERE stage = 'score'",
            "UPDATE progress SET done = 0, failed = 0 WHERE stage = 'score'",
            "DELETE FROM score",
        ):
            connection.execute(text(statement))
    list_again(engine)


def test_counters_are_right_after_a_repair_in_the_midst_of_work(whole, whole_url):
    other = create_engine(whole_url)
    for _ in range(5):
        reopen_scores(whole)
        working = threading.Thread(target=finish, args=(other, 1))
        working.start()
        while working.is_alive():
            for mend in (repair.repair_shards, repair.repair_spend):
                with transaction(whole) as connection:
                    mend(connection, 1)
        working.join()
        assert differences(whole) == []
    other.dispose()


@pytest.mark.parametrize("chosen", [{}, {"stage": "simulate"}, {"layer": 3}, {"stage": "explain"}])
def test_a_run_is_whole_after_a_retry(whole, chosen):
    with transaction(whole) as connection:
        before = connection.scalar(text("SELECT count(*) FROM failure"))
        count = retry.retry_failures(connection, 1, **chosen)
        assert connection.scalar(text("SELECT count(*) FROM failure")) == before - count
        runs.resume(connection, 1)
    assert count or chosen
    assert differences(whole) == []


def test_a_neuron_with_a_score_may_fail_in_a_further_scorer_only(whole):
    damage(
        whole,
        """INSERT INTO failure (run_id, stage, layer, neuron, failure_class, message, attempts)
           SELECT run_id, 'score', layer, neuron, 'malformed', 'words', 1 FROM score
           WHERE score IS NOT NULL LIMIT 1""",
    )
    contradiction = "it has a score, and failed in score"
    assert any(contradiction in line for line in differences(whole))
    damage(
        whole,
        """UPDATE run SET config = config || jsonb_build_object(
               'scoring', config -> 'scoring' || '{"also": ["detection"]}',
               'scorer', jsonb_build_object('endpoint', config -> 'explainer' -> 'endpoint',
                                            'model', config -> 'explainer' -> 'model'))""",
    )
    assert not any(contradiction in line for line in differences(whole))
