"""Every page in a real browser: no error, nothing from elsewhere, for everybody, and a picture."""

import pytest
from sqlalchemy import text

from tests.support.browsing import watched

CALL = "52c8e805fd242fe31bc4de99aba0b0ceb227a0d7da83a17a3438fdcfdf6f7cc4"
PAGES = {
    "runs": "/",
    "run": "/runs/whole",
    "run-half": "/runs/half",
    "run-reading": "/runs/reading",
    "run-imported": "/runs/imported",
    "neuron": "/runs/whole/neurons/0/20",
    "neuron-numbers": "/runs/whole/neurons/0/20?numbers=141",
    "neuron-waiting": "/runs/reading/neurons/{waiting}",
    "neuron-half": "/runs/half/neurons/{half}",
    "neuron-imported": "/runs/imported/neurons/{imported}",
    "meaning": "/runs/whole/meaning",
    "neurons": "/runs/whole/neurons?words=rehearsal&sort=score&skewness_min=0",
    "call": f"/runs/whole/calls/{CALL}",
    "failures": "/runs/whole/failures",
    "failures-half": "/runs/half/failures",
    "texts": "/runs/whole/text",
    "plots": "/runs/whole/plots",
    "compare": "/compare/whole/half",
    "sql": "/sql?query=SELECT+*+FROM+run_progress",
}
"""Every page, and a neuron in every state. What is in braces is looked up in the database."""

PLACES = {"waiting": "reading", "half": "half", "imported": "imported"}
"""The runs of which a neuron is meant: the first one."""


@pytest.fixture(scope="module")
def address(served):
    """Return the address of a page by its name."""
    query = text("""
        SELECT min(ARRAY[layer, neuron]) FROM neuron JOIN run ON run.id = run_id WHERE name = :run
    """)
    with served.engine.connect() as connection:
        firsts = {name: connection.scalar(query, {"run": run}) for name, run in PLACES.items()}
    places = {name: f"{layer}/{neuron}" for name, (layer, neuron) in firsts.items()}
    return lambda name: PAGES[name].format(**places)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_for_everybody(chromium, served, address, name, scheme):
    with watched(chromium, served.address, color_scheme=scheme) as page:
        page.open(address(name))
        page.keep(f"{name}-{scheme}")
        assert page.violations() == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_one_column_on_a_telephone(chromium, served, address, name):
    with watched(chromium, served.address, viewport={"width": 360, "height": 740}) as page:
        page.open(address(name))
        page.keep(f"{name}-360")
        assert page.overflow() <= 0


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_printed(chromium, served, address, name):
    with watched(chromium, served.address) as page:
        page.open(address(name)).emulate_media(media="print")
        page.keep(f"{name}-print")
        assert page.page.locator("main").is_visible()
        assert not page.page.locator("header.top nav").is_visible()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read_without_scripts(chromium, served, address, name):
    with watched(chromium, served.address, java_script_enabled=False) as page:
        page.open(address(name))
        assert page.page.locator("main h1").is_visible()
