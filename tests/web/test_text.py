"""Asking which neurons answer to a text, as a person does: a worker is started for it."""

import re

TEXT = "The following is a list of the modules in the standard"
WAIT_MS = 100_000


def ask(shown, text, target=""):
    shown.get_by_label("Text, of at most").fill(text)
    shown.get_by_label("Next token to explain").fill(target)
    shown.get_by_role("button", name="Ask", exact=True).click()
    shown.wait_for_url(re.compile(r"/text/\d+$"))


def test_a_text_is_asked_and_its_neurons_are_ranked(page, finished_run):
    shown = page.open(f"/runs/{finished_run}/text")
    ask(shown, TEXT)
    shown.get_by_role("heading", name="What the difference is made of").wait_for(timeout=WAIT_MS)
    total = shown.locator("tr", has_text="all of the model").locator("td").first.inner_text()
    groups = shown.locator("h2:has-text('made of') + table tbody tr")
    parts = [float(row.split()[0]) for row in groups.locator("td:first-of-type").all_inner_texts()]
    assert abs(sum(parts[:-1]) - float(total)) < 0.01
    page.keep("text")
    assert page.violations() == []

    before = shown.get_by_text(re.compile("After this text, the model gives")).inner_text()
    shown.get_by_role("button", name="Ablate them").click()
    shown.get_by_text(re.compile("instead of")).wait_for(timeout=WAIT_MS)
    assert shown.get_by_text(re.compile("After this text, the model gives")).inner_text() == before
    page.keep("text-ablated")

    shown.locator("h2:has-text('Neurons') ~ .wide th a").first.click()
    shown.wait_for_url(re.compile(r"/neurons/\d+/\d+$"))


def test_a_target_of_two_tokens_is_refused_with_its_pieces(page, finished_run):
    shown = page.open(f"/runs/{finished_run}/text")
    ask(shown, TEXT, target="zzqx")
    shown.get_by_text("It failed (target)").wait_for(timeout=WAIT_MS)
    assert "zzqx" in shown.locator(".bad").inner_text()
    page.keep("text-failed")
