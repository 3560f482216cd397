"""The golden files, the option that writes them, and runs on the small data set."""

from collections.abc import Iterator

import pytest

from tests.golden.derived import make_runs
from tests.golden.pinned import Pinned
from tests.golden.world import CommandLine, command_line, rehearsal_server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-golden",
        action="store_true",
        help="Write the golden files instead of comparing with them; see tests/golden/README.md.",
    )


@pytest.fixture(scope="session")
def pinned(pytestconfig: pytest.Config) -> Pinned:
    """The golden files. Where all tests run, the option is not there, and nothing is written."""
    return Pinned(is_writing=pytestconfig.getoption("--write-golden", default=False))


@pytest.fixture(scope="session")
def derived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A command line whose database has the data set and all runs on it, ended."""
    with command_line() as cli:
        with rehearsal_server():
            cli.outcomes = make_runs(cli, tmp_path_factory.mktemp("derived"))
        yield cli
