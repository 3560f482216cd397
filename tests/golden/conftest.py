"""The golden files, and the option that writes them."""

import pytest

from tests.golden.pinned import Pinned


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
