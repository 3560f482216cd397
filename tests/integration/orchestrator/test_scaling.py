"""The queries by which KEDA counts workers, asked of a real run as the role that only reads."""

from pathlib import Path

import pytest
import yaml
from sqlalchemy import text

from db.roles import READER, ROLES, apply_roles

SCALING = Path(__file__).parents[3] / "deploy/kubernetes/base/scaling.yaml"
QUERIES = {
    resource["metadata"]["name"]: resource["spec"]["triggers"][0]["metadata"]["query"]
    for resource in yaml.safe_load_all(SCALING.read_text(encoding="utf-8"))
    if resource["kind"] == "ScaledObject"
}


@pytest.fixture
def counted(whole):
    """Count the workers of the finished run, after it was changed by a statement."""

    def counted(change, **values):
        with whole.begin() as connection:
            apply_roles(connection, dict.fromkeys(ROLES, "secret"))
            connection.execute(text(change), values)
            connection.execute(text(f"SET LOCAL ROLE {READER}"))
            return {name: connection.scalar(text(query)) for name, query in QUERIES.items()}

    return counted


def test_a_finished_run_needs_no_worker(counted):
    assert counted("SELECT 1") == {"api-worker": 0, "gpu-worker": 0}


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("collect", {"api-worker": 0, "gpu-worker": 1}),
        ("score", {"api-worker": 1, "gpu-worker": 0}),
    ],
)
@pytest.mark.parametrize("state", ["ready", "queued", "leased"])
def test_an_open_shard_needs_a_worker_of_its_queue(counted, stage, expected, state):
    opened = """
        WITH again AS (UPDATE run SET state = 'running')
        UPDATE shard SET state = :state
        WHERE id = (SELECT min(id) FROM shard WHERE stage = :stage)
    """
    assert counted(opened, state=state, stage=stage) == expected


def test_a_paused_run_keeps_no_worker(counted):
    paused = "WITH again AS (UPDATE run SET state = 'paused') UPDATE shard SET state = 'ready'"
    assert counted(paused) == {"api-worker": 0, "gpu-worker": 0}
