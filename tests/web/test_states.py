"""Pages of what has failed, and of nothing at all: each says what to do."""

import tempfile
from pathlib import Path

import pytest
from sqlalchemy import text

from db import listed_neurons, runs
from db.results import FailureRow, failures
from tests.support.browsing import watched
from tests.support.served import run_command, serving


@pytest.fixture
def failed(served):
    """The place of a neuron that the explainer refused."""
    with served.engine.begin() as connection:
        run = runs.find(connection, "reading")
        layer, neuron = connection.execute(
            text("SELECT layer, neuron FROM neuron WHERE run_id = :run LIMIT 1"), {"run": run.id}
        ).one()
        why = "<b>cannot</b> be explained\u202e"
        row = FailureRow(run.id, "explain", layer, neuron, "refused", why, 1, "req-7")
        failures.save(connection, [row])
        listed_neurons.renew(connection, run.id, [layer])
    yield f"{layer}/{neuron}"
    with served.engine.begin() as connection:
        connection.execute(text("DELETE FROM failure WHERE run_id = :run"), {"run": run.id})
        listed_neurons.renew(connection, run.id, [layer])


@pytest.mark.parametrize("path", ["neurons/{place}", "failures"])
def test_what_has_failed_says_why_and_what_tries_it_again(page, failed, path):
    shown = page.open(f"/runs/reading/{path.format(place=failed)}")
    said = shown.locator("main").inner_text()
    assert "refused" in said and "<b>cannot</b> be explained" in said
    assert "neurogloss retry reading" in said and "\u202e" not in said
    page.keep(f"failed-{path.partition('/')[0]}")
    assert page.violations() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_server_without_a_run_says_how_to_get_one(chromium, empty, scheme):
    with watched(chromium, empty, color_scheme=scheme) as page:
        shown = page.open("/")
        assert "neurogloss demo" in shown.locator("main").inner_text()
        page.keep(f"empty-{scheme}")
        assert page.violations() == []


@pytest.fixture(scope="module")
def empty(chromium):
    """The address of a server whose database has no run."""
    with tempfile.TemporaryDirectory(prefix="neurogloss-web-") as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        try:
            with serving(home) as address:
                yield address
        finally:
            run_command(home, "stop")
