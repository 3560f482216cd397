"""The time left of collect, along the course of a real run."""

import pytest
from sqlalchemy import text

from db import progress, runs
from neurogloss.config.run import RunConfig
from neurogloss.subject.shape import Shape
from orchestrator.runs.plan import make_plan

SHAPE = Shape(n_layers=48, neurons_per_layer=6400, n_positions=64, vocab_size=4096, width=64)
STEPS = ("reference", "boundaries", "read", "select", "lookup", "connections")
# Seconds of the steps in whole jobs of benchmarks/README.md, in each of which a worker did nothing
# else, or the half of those in which it did two shards at once.
TOOK_S = {"AMD EPYC": (158, 36, 187, 70, 574, 261), "Intel Xeon": (89, 19, 136, 44, 385, 155)}
MINUTE = 60


@pytest.fixture(params=TOOK_S.values(), ids=TOOK_S)
def took_s(request):
    return dict(zip(STEPS, request.param, strict=True))


@pytest.fixture
def whole(took_s):
    return sum(took_s.values())


@pytest.fixture
def course(engine, run_id, took_s):
    """Return what is told of collect when it has gone on for so many seconds, by one worker."""
    lookup = {"kind": "lookup"}
    values = {"name": "r", "explainer": lookup, "simulator": lookup, "corpus": {"excerpts": 2000}}
    plan = make_plan(RunConfig.model_validate(values), SHAPE)
    shards = [shard for shard in plan.shards if shard.stage == "collect"]
    in_order = sorted(shards, key=lambda shard: STEPS.index(shard.step))
    expected = {step: sum(s.expected_s for s in shards if s.step == step) for step in STEPS}
    seconds = [took_s[s.step] * s.expected_s / expected[s.step] for s in in_order]

    def told(after):
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM shard"))
            connection.execute(text("DELETE FROM progress"))
            runs.save_plan(
                connection,
                run_id,
                neurons=[],
                shards=in_order,
                totals=[("collect", -1, sum(s.weight for s in shards))],
            )
            for shard, took in zip(stored(connection), seconds, strict=True):
                share = min(1, max(0, after / took))
                connection.execute(
                    text(_DONE if share == 1 else _HELD), values_of(shard, took, share)
                )
                after -= took
            return progress.stages(connection, "r")[0]

    return told


def stored(connection):
    return connection.scalars(text("SELECT id FROM shard ORDER BY id")).all()


def values_of(shard, took, share):
    return {"id": shard, "took": took, "share": share}


_DONE = "UPDATE shard SET state = 'done', took_s = :took, fraction = 1 WHERE id = :id"
_HELD = """
    UPDATE shard SET state = 'leased', fraction = :share,
           claimed_at = now() - :share * :took * interval '1 second'
    WHERE id = :id AND :share > 0
"""


def test_the_time_left_is_told_within_30_per_cent_from_the_second_minute_on(course, whole):
    for after in range(2 * MINUTE, whole - MINUTE, 2 * MINUTE):
        row = course(after)
        left = whole - after
        assert row.eta.total_seconds() == pytest.approx(left, rel=0.3), after
        assert row.eta_low <= row.eta <= row.eta_high


def test_the_share_of_the_work_grows_to_all_of_it(course, whole):
    shares = [course(after).percent for after in (0, 200, 400, 600, whole - 60, whole + 1)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 100)
    assert shares[-2] < 100


def test_no_time_is_told_before_anything_is_done(course):
    assert course(0).eta is None


def test_a_paused_run_has_no_time_left(engine, course):
    with engine.begin() as connection:
        connection.execute(text("UPDATE run SET state = 'paused'"))
    row = course(300)
    assert (row.eta, row.eta_low, row.eta_high) == (None, None, None)


@pytest.mark.parametrize(
    ("workers", "slower", "part"),
    [(("w", "w"), 2, 1), (("w", "v"), 1, 1 / 2)],
    ids=["one worker, twice the time", "two workers"],
)
def test_what_a_worker_does_at_once_takes_as_long_as_one_after_the_other(
    engine, course, workers, slower, part
):
    alone = course(300).eta
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE shard SET worker = :first WHERE state = 'leased'"), {"first": workers[0]}
        )
        connection.execute(
            text("""
                UPDATE shard SET state = 'leased', worker = :other, fraction = 0.01,
                       claimed_at = now() - :slower * 0.01 * expected_s * interval '1 second'
                WHERE id = (SELECT max(id) FROM shard WHERE step = 'connections')
            """),
            {"other": workers[1], "slower": slower},
        )
        connection.execute(
            text("""
                UPDATE shard SET claimed_at = now() - :slower * (now() - claimed_at)
                WHERE state = 'leased' AND worker = :first AND step <> 'connections'
            """),
            {"first": workers[0], "slower": slower},
        )
        eta = progress.stages(connection, "r")[0].eta
    assert eta / alone == pytest.approx(part, rel=0.2)
