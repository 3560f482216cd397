"""The page of a neuron, as a person sees it."""

import re

import numpy as np
import pytest
from sqlalchemy import text

N_NEURONS = 20
_NUMBERS = re.compile(r"real (-?[\d.]+), simulated (-?[\d.]+)")


@pytest.fixture(scope="module")
def scored(served, finished_run):
    """The neurons of a run that a person would open first."""
    query = text("""
        SELECT layer, neuron FROM score JOIN run ON run.id = run_id
        WHERE name = :run AND score IS NOT NULL ORDER BY score DESC LIMIT :n
    """)
    with served.engine.connect() as connection:
        found = connection.execute(query, {"run": finished_run, "n": N_NEURONS}).all()
    assert len(found) == N_NEURONS
    return found


def stored(served, run, layer, neuron):
    """Yield (excerpt, real, simulated) of each scored record, from the rows themselves."""
    query = text("""
        SELECT excerpt, expected_activations, excerpts, activations
        FROM simulation JOIN neuron_records USING (run_id, layer, neuron)
        JOIN run ON run.id = run_id
        WHERE name = :run AND layer = :layer AND neuron = :neuron
    """)
    with served.engine.connect() as connection:
        rows = connection.execute(query, {"run": run, "layer": layer, "neuron": neuron}).all()
    for excerpt, simulated, excerpts, activations in rows:
        simulated = np.frombuffer(simulated, np.float16)
        real = np.frombuffer(activations, np.float16).reshape(len(excerpts), -1)
        yield excerpt, real[list(excerpts).index(excerpt)], simulated


def test_the_numbers_on_the_page_are_those_of_the_database(page, served, finished_run, scored):
    for layer, neuron in scored:
        shown = page.open(f"/runs/{finished_run}/neurons/{layer}/{neuron}")
        records = list(stored(served, finished_run, layer, neuron))
        assert records
        for excerpt, real, simulated in records:
            tokens = shown.locator(f"#excerpt-{excerpt} .tok")
            says = tokens.evaluate_all("all => all.map(each => each.dataset.says)")
            found = [_NUMBERS.search(each).groups() for each in says]
            expected = [(f"{a:z.2f}", f"{s:z.2f}") for a, s in zip(real, simulated, strict=True)]
            assert found == expected, (layer, neuron, excerpt)


def test_keys_lead_to_the_next_neuron_and_back(page, finished_run, scored):
    layer, neuron = scored[0]
    shown = page.open(f"/runs/{finished_run}/neurons/{layer}/{neuron}")
    first = shown.url
    shown.keyboard.press("j")
    shown.wait_for_url(lambda url: url != first)
    shown.keyboard.press("k")
    shown.wait_for_url(first)


def test_a_token_does_not_shift_when_it_is_coloured(page, finished_run, scored):
    layer, neuron = scored[0]
    shown = page.open(f"/runs/{finished_run}/neurons/{layer}/{neuron}")
    boxes = "all => all.map(each => each.getBoundingClientRect().x)"
    coloured = shown.locator(".scored-records .tok").evaluate_all(boxes)
    shown.evaluate(
        "document.querySelectorAll('.tok').forEach(each => { each.className = 'tok a0 s0' })"
    )
    assert shown.locator(".scored-records .tok").evaluate_all(boxes) == coloured
