import pytest

from tests.support.databases import connected, copied
from tests.support.filled import fill


@pytest.fixture(scope="session")
def filled(services, template):
    """An engine on a database with a run that the generator of the benchmarks has made.

    Tests share it, and change nothing.
    """
    with copied(services, template, "filled") as url, connected(url) as engine:
        fill(url, services)
        yield engine
