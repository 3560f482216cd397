"""Every page in a real browser: no error, nothing from elsewhere, for everybody, and a picture."""

import pytest

from tests.support.browsing import watched

PAGES = {
    "runs": "/",
    "plots": "/runs/json-1/plots",
    "sql": "/sql?query=SELECT+*+FROM+run_progress",
    "nowhere": "/runs/nowhere",
}
PRESENT = {name: path for name, path in PAGES.items() if name != "nowhere"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PRESENT)
def test_a_page_is_for_everybody(chromium, served, name, scheme):
    with watched(chromium, served.address, color_scheme=scheme) as page:
        page.open(PAGES[name])
        page.keep(f"{name}-{scheme}")
        assert page.violations() == []


@pytest.mark.parametrize("name", PRESENT)
def test_a_page_is_one_column_on_a_telephone(chromium, served, name):
    with watched(chromium, served.address, viewport={"width": 360, "height": 740}) as page:
        page.open(PAGES[name])
        page.keep(f"{name}-360")
        assert page.overflow() <= 0


@pytest.mark.parametrize("name", PRESENT)
def test_a_page_can_be_printed(chromium, served, name):
    with watched(chromium, served.address) as page:
        page.open(PAGES[name]).emulate_media(media="print")
        page.keep(f"{name}-print")
        assert page.page.locator("main").is_visible()
        assert not page.page.locator("header.top nav").is_visible()


@pytest.mark.parametrize("name", PRESENT)
def test_a_page_can_be_read_without_scripts(chromium, served, name):
    with watched(chromium, served.address, java_script_enabled=False) as page:
        page.open(PAGES[name])
        assert page.page.locator("main h1").is_visible()
