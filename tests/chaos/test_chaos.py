"""The short version of `make test-chaos`."""

import pytest

from tests.chaos.faults import KINDS
from tests.chaos.schedule import Stage
from tests.chaos.world import World

SCHEDULES, FAULTS, NEURONS = 10, 4, 8


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """A world in which a run was rehearsed undisturbed."""
    folder = tmp_path_factory.mktemp("chaos")
    for parent in (folder.parent, folder.parent.parent):
        parent.chmod(0o755)  # as root, the servers run under another account
    with World(folder) as world:
        stage = Stage(world, NEURONS)
        assert stage.rehearse().wrong == []
        yield stage


@pytest.mark.parametrize("seed", range(100, 100 + SCHEDULES))
def test_a_disturbed_run_leaves_what_an_undisturbed_one_does(stage, seed):
    outcome = stage.run(seed, list(KINDS), FAULTS)
    assert outcome.injected
    assert outcome.wrong == [], (
        f"once more: python -m tests.chaos --seed {seed} --neurons {NEURONS}"
    )
