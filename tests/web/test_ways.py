"""The ways of a person through the pages: from the map to a neuron, by filters, by words."""

import re

import pytest
from sqlalchemy import text

from tests.support.browsing import watched
from tests.support.served import serving

HOSTILE = (
    "</td><script>document.title = 'owned'</script><img src=x onerror=alert(1)> "
    "'\"; DROP TABLE run; -- \u202eesrever\u202c \u200b\ufeff \x1b[31m " + "long " * 2000
)


def listed(shown):
    """Return the neurons of a list, in its order, as (layer, neuron)."""
    links = shown.locator("main table tbody a[href*='/neurons/']")
    addresses = links.evaluate_all("all => all.map(each => each.getAttribute('href'))")
    places = [re.search(r"/neurons/(\d+)/(\d+)", address).groups() for address in addresses]
    return [(int(layer), int(neuron)) for layer, neuron in dict.fromkeys(places)]


def test_the_map_leads_to_a_list_and_the_list_to_a_neuron(page, served, finished_run):
    shown = page.open(f"/runs/{finished_run}")
    heat = shown.locator("svg.heat")
    heat.wait_for(timeout=30_000)
    heat.click(position={"x": 40, "y": 6})
    shown.wait_for_url(re.compile(r"/neurons\?"))
    places = listed(shown)
    assert places and {layer for layer, _ in places} == {0}
    shown.locator("main table tbody a[href*='/neurons/']").first.click()
    layer, neuron = places[0]
    shown.wait_for_url(re.compile(rf"/neurons/{layer}/{neuron}$"))


def test_the_map_can_be_walked_by_keys(page, finished_run):
    shown = page.open(f"/runs/{finished_run}")
    heat = shown.locator("svg.heat")
    heat.wait_for(timeout=30_000)
    heat.focus()
    shown.keyboard.press("ArrowRight")
    shown.locator(".heat-says", has_text="Layer 0, neurons 0 to").wait_for()
    shown.keyboard.press("Enter")
    shown.wait_for_url(re.compile(r"/neurons\?"))


@pytest.mark.parametrize(
    ("query", "condition", "order"),
    [
        ("sort=score&desc=true", "true", "score DESC, layer DESC, neuron DESC"),
        ("layer=3&score_min=0.8", "layer = 3 AND score >= 0.8", "layer, neuron"),
        ("state=scored&score_max=0.3", "score <= 0.3", "layer, neuron"),
    ],
)
def test_a_list_is_what_sql_says(page, served, finished_run, query, condition, order):
    shown = page.open(f"/runs/{finished_run}/neurons?{query}")
    said = text(f"""
        SELECT layer, neuron FROM neuron_summary
        WHERE run = :run AND {condition} ORDER BY {order} LIMIT 50
    """)  # noqa: S608
    with served.engine.connect() as connection:
        expected = [tuple(row) for row in connection.execute(said, {"run": finished_run})]
    assert listed(shown) == expected


def test_words_find_the_neurons_whose_explanation_has_them(page, served):
    shown = page.open("/runs/whole/neurons")
    shown.get_by_role("searchbox").or_(shown.locator("input[name=words]")).first.fill("theatre")
    shown.keyboard.press("Enter")
    shown.wait_for_url(re.compile("words=theatre"))
    query = text("""
        SELECT layer, neuron FROM neuron_summary
        WHERE run = 'whole' AND explanation ~* '\\mtheatre\\M'
    """)
    with served.engine.connect() as connection:
        expected = {tuple(row) for row in connection.execute(query)}
    assert expected and set(listed(shown)) == expected


def test_a_run_is_controlled_only_where_that_is_allowed(chromium, served):
    path = "/runs/half"
    with watched(chromium, served.address) as page:
        page.open(path)
        assert page.page.get_by_role("button", name="Pause").count() == 0
    with (
        serving(served.home, ["--allow-control"]) as address,
        watched(chromium, address) as page,
    ):
        shown = page.open(path)
        shown.get_by_role("button", name="Pause").click()
        shown.locator(".state.paused").first.wait_for()
        page.keep("run-paused")
        assert page.violations() == []
        shown.get_by_role("button", name="Resume").click()
        shown.locator(".state.running").first.wait_for()


@pytest.fixture
def hostile(served):
    """A neuron whose explanation is an attack, and a note that is one."""
    change = text("""
        UPDATE explanation SET text = :text FROM run
        WHERE run.id = run_id AND run.name = 'whole' AND layer = 0 AND neuron = 38
        RETURNING run_id
    """)
    with served.engine.begin() as connection:
        before = connection.scalar(
            text("SELECT explanation FROM neuron_summary WHERE run = 'whole' AND neuron = 38")
        )
        connection.execute(change, {"text": HOSTILE})
    yield "/neurons/0/38"
    with served.engine.begin() as connection:
        connection.execute(change, {"text": before})


@pytest.mark.parametrize("path", ["{neuron}", "/neurons", "/neurons?words=long", "", "/plots"])
def test_hostile_text_is_only_text(page, hostile, path):
    shown = page.open(f"/runs/whole{path.format(neuron=hostile)}")
    shown.wait_for_timeout(300)
    assert "owned" not in shown.title()
    assert shown.locator("main script, main img[src=x]").count() == 0
    inside = shown.locator("main").inner_text()
    assert not set(inside) & set("\u202e\u200b\ufeff\x1b")
    assert page.overflow() <= 0
