"""The short version of `make test-chaos`: every kind of fault in ten schedules."""

import pytest

from tests.chaos import pooler
from tests.chaos.faults import KINDS
from tests.chaos.run_config import Variant
from tests.chaos.worlds import Schedule, Worlds

NEURONS, N_WORLDS = 8, 3
SEEDS = (104, 110, 108, 120, 116, 112, 114, 124, 101, 103)
"""Online and in batches, past a pooler and by way of it; two that have every stage.

Each of them is dealt every tenth kind, which says where those lie that need one or the other.
"""
SCHEDULES = {
    seed: Schedule(seed, kinds := tuple(list(KINDS)[place :: len(SEEDS)]), len(kinds))
    for place, seed in enumerate(SEEDS)
}


@pytest.fixture(scope="module")
def outcome_of(request, tmp_path_factory):
    """Return what came of a schedule; worlds beside each other run those that were asked for."""
    folder = tmp_path_factory.mktemp("chaos")
    for parent in (folder.parent, folder.parent.parent):
        parent.chmod(0o755)  # as root, the servers run under another account
    here = [item for item in request.session.items if item.path == request.path]
    asked = [SCHEDULES[item.callspec.params["seed"]] for item in here]
    found = {}
    with Worlds(folder, NEURONS, asked, N_WORLDS) as worlds:
        outcomes = worlds.outcomes()

        def wait_for(seed):
            while seed not in found:
                outcome = next(outcomes)
                found[outcome.seed] = outcome
            return found[seed]

        yield wait_for


@pytest.mark.parametrize("seed", SEEDS)
def test_a_disturbed_run_leaves_what_an_undisturbed_one_does(outcome_of, seed):
    outcome = outcome_of(seed)
    assert outcome.injected
    again = "".join(f" --kind {kind!r}" for kind in SCHEDULES[seed].kinds)
    once_more = f"python -m tests.chaos --seed {seed} --neurons {NEURONS}{again}"
    # In the message, which pytest does not shorten.
    assert outcome.wrong == [], "\n".join([f"once more: {once_more}", *outcome.wrong])
    # Debian's package pgbouncer; there is none on PyPI, from which all else comes.
    if Variant.of_seed(seed).is_pooled and pooler.program() is None:
        pytest.skip("passed, but past the pooler that it is about: pgbouncer is not installed")
