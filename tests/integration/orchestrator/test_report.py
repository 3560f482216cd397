"""`report`: a run as one file, which asks for nothing and in which no text acts."""

import re
from html.parser import HTMLParser

import pytest
from sqlalchemy import text

from web.plots.catalog import PLOTS

HOSTILE = "\u202e</style></pre><script>alert(1)</script><img src=x onerror=alert(1)>'\""


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def report(command, tmp_path):
    """Write the report of the run; return the page and its elements."""

    def report(*options):
        file = tmp_path / "run.html"
        code, output = command("report", "whole", "--output", str(file), *options)
        assert code == 0, output
        assert f"{file}  ({file.stat().st_size:,} bytes)" in output
        page = file.read_text(encoding="utf-8")
        return page, Elements(page)

    return report


def test_it_holds_the_run_its_plots_and_its_neurons(report, whole):
    page, elements = report("--neurons", "2")
    with whole.connect() as connection:
        n, mean = connection.execute(text("SELECT count(score), avg(score) FROM score")).one()
        order = "SELECT layer, neuron, score FROM score WHERE score IS NOT NULL ORDER BY score"
        best = connection.execute(text(f"{order} DESC, layer DESC, neuron DESC LIMIT 2")).all()
        worst = connection.execute(text(f"{order}, layer, neuron LIMIT 2")).all()
        failures = connection.scalars(text("SELECT class FROM failure_summary")).all()
    said = re.sub(r"\s+", " ", elements.text)
    assert f"Mean score {mean:.3f} over {n:,} neurons." in said
    headings = re.findall(r"<h3>(\d+)/(\d+) · score (-?[\d.]+)</h3>", page)
    assert headings[:4] == [
        (str(layer), str(neuron), f"{score:.3f}") for layer, neuron, score in (*best, *worst)
    ]
    assert len(headings) == 6
    assert failures and all(failure in said for failure in failures)
    assert [a["alt"].split(".")[0] for tag, a in elements.found if tag == "img"] == [
        plot.drawing.title for plot in PLOTS.values()
    ]
    for part in ("Configuration", "Method", "Citation", "Money", "Stages"):
        assert f"{part}</h2>" in page
    assert " ago" not in said
    assert any(a.get("class") == "heat" for tag, a in elements.found if tag == "svg")


def test_it_asks_for_nothing_and_no_text_in_it_acts(report, whole):
    with whole.begin() as connection:
        for statement in (
            "UPDATE explanation SET text = :text",
            "UPDATE failure SET message = :text",
            "UPDATE token SET text = :text WHERE token % 2 = 0",
            "UPDATE excerpt SET document = :text",
            """UPDATE run SET config =
            jsonb_set(config, '{subject,model}', to_jsonb(CAST(:text AS text)))""",
        ):
            connection.execute(text(statement), {"text": HOSTILE})
    page, elements = report("--neurons", "1")
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"script", "link", "iframe", "object", "form", "base"}
    for _, attributes in elements.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "srcset"):
            assert attributes.get(name, "data:").startswith("data:image/svg+xml;base64,") or (
                name not in attributes
            )
        assert attributes.get("href", "#").startswith("#")
    policy = next(a["content"] for _, a in elements.found if "http-equiv" in a)
    assert policy.startswith("default-src 'none'") and "script" not in policy
    assert "\u202e" not in page
    assert "<script>alert(1)" in elements.text


def test_a_run_without_scores_has_a_report_that_says_so(report, whole):
    with whole.begin() as connection:
        connection.execute(text("DELETE FROM score"))
        connection.execute(text("UPDATE listed_neuron SET score = NULL, state = 'waiting'"))
    _, elements = report()
    assert elements.text.count("No neuron has a score.") == 4
    assert "No neuron has a score yet." in elements.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nobody",), "no run 'nobody'"),
        (("whole", "--output", "/nowhere/x.html"), "no folder /nowhere"),
        (("whole", "--output", "/tmp"), "is a folder"),
        (("whole", "--neurons", "1000"), "range"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(command, arguments, message):
    code, output = command("report", *arguments)
    assert code == 2
    assert message in output
