import pytest

from tests.support.dataset_run import make_run


@pytest.fixture
def run_id(engine):
    return make_run(engine)
