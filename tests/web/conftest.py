"""Chromium, and a server of pages over runs in every state, started as people start them."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.browsing import WatchedPage, watched
from tests.support.served import Served, StartedRun, served_world, started_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A browser that can reach this machine alone."""
    # It is no Python package. `.ci/run` installs it, so that only other machines may skip.
    if CHROMIUM is None:
        pytest.skip("no Chromium: `apt-get install chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def served(chromium: Browser) -> Iterator[Served]:
    """Pages over the runs of the golden backup: finished, half finished, reading, imported."""
    with served_world() as served:
        yield served


@pytest.fixture(scope="session")
def watched_run(served: Served) -> Iterator[StartedRun]:
    """A run that has just begun, and goes on by itself."""
    with started_run(served.home, "watched") as run:
        yield run


@pytest.fixture(scope="session")
def finished_run(watched_run: StartedRun) -> str:
    """The name of a run of which every neuron is scored."""
    watched_run.wait()
    return watched_run.name


@pytest.fixture
def page(chromium: Browser, served: Served) -> Iterator[WatchedPage]:
    """A page of which every request and every error is watched: there may be none to elsewhere."""
    with watched(chromium, served.address) as page:
        yield page
