"""A run that is watched from its beginning to its end, on a page that nobody reloads."""

import time
from itertools import pairwise

import httpx

_PERCENT = """
    () => [...document.querySelectorAll("#part-funnel tbody tr")].map(row => [
        row.querySelector("th").firstChild.textContent.trim(),
        row.textContent.match(/([\\d.]+) %/)[1],
    ])
"""
LONGEST_S = 240


def begun(served, name):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        runs = httpx.get(f"{served.address}/runs.json").json()["runs"]
        if name in [run["run"] for run in runs]:
            return
        time.sleep(0.2)
    raise AssertionError(f"{name} has not begun")


def test_a_run_is_watched_from_nothing_to_its_end(page, served, watched_run):
    begun(served, watched_run.name)
    shown = page.open(f"/runs/{watched_run.name}")
    shown.evaluate("window.untouched = true")
    seen, deadline = [], time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        percents = {stage: float(percent) for stage, percent in shown.evaluate(_PERCENT)}
        if not seen or percents != seen[-1]:
            seen.append(percents)
        if shown.locator("#part-state .state.done").count():
            break
        shown.wait_for_timeout(200)
    assert shown.evaluate("window.untouched"), "the page was reloaded"
    assert shown.locator("#part-state .state.done").count() == 1
    assert min(seen[0].values()) < 100.0
    assert set(seen[-1].values()) == {100.0}
    for before, after in pairwise(seen):
        assert all(before[stage] <= after[stage] for stage in before), (before, after)
    assert len(seen) > 2, "the page showed the beginning and the end only"
    page.keep("run-watched")
