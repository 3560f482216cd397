"""The pages of texts: asking, waiting, and what was found."""

from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient

from db import text_queue, texts
from db.session import transaction
from db.text_results import TextAblation
from tests.support.text_results import result_of
from web.app import make_app
from web.settings import WebSettings

HOSTILE = "\u202e</textarea><script>alert(1)</script>' OR 1=1 --\u200b"
PAGE = "/runs/whole/text"


class Fields(HTMLParser):
    """The hidden fields of a page's forms, by name."""

    def __init__(self, page):
        super().__init__()
        self.values = {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "input" and "name" in found:
            self.values.setdefault(found["name"], found.get("value", ""))


@pytest.fixture
def client(whole):
    app = make_app(WebSettings(engine=whole))
    with TestClient(app, base_url="http://localhost") as client:
        yield client


@pytest.fixture
def send(client):
    """Sends the form as the page would, and does not follow where it leads."""

    def send(**fields):
        csrf = Fields(client.get(PAGE).text).values["csrf"]
        return client.post(PAGE, data={"csrf": csrf, **fields}, follow_redirects=False)

    return send


def number_of(answer):
    assert answer.status_code == 303, answer.text
    return int(answer.headers["location"].rpartition("/")[2])


@pytest.fixture
def finish(whole):
    """Does what a worker does with the next request."""

    def finish(**changes):
        with transaction(whole) as connection:
            held = text_queue.claim(connection, "w", 60)
            assert text_queue.finish(connection, held, result_of(**changes))

    return finish


def test_a_text_is_asked_waited_for_and_answered(client, send, finish):
    number = number_of(send(text="The capital of\r\nFrance is", target=" Paris"))
    waiting = client.get(f"{PAGE}/{number}").text
    assert 'http-equiv="refresh"' in waiting and "next one for a worker" in waiting
    request = client.get(f"{PAGE}/{number}.json").json()["request"]
    assert request["text"] == "The capital of\nFrance is"
    assert request["requested_by"].startswith("web ")

    finish()
    page = client.get(f"{PAGE}/{number}").text
    assert "http-equiv" not in page
    assert 'href="/runs/whole/neurons/0/1"' in page
    found = client.get(f"{PAGE}/{number}.json").json()
    assert found["result"] == texts_json(client, number)
    assert found["result"]["accounted_by_explained"] == 0.75


def texts_json(client, number):
    with transaction(client.app.state.settings.engine) as connection:
        return texts.load_request(connection, number).result.as_json()


def test_a_text_that_failed_says_why_and_can_be_corrected(client, send, whole):
    number = number_of(send(text=HOSTILE, target="of two tokens"))
    with transaction(whole) as connection:
        held = text_queue.claim(connection, "w", 60)
        assert text_queue.fail(connection, held, "target", f"{HOSTILE} is two tokens")
    page = client.get(f"{PAGE}/{number}").text
    assert "It failed (target)" in page and "is two tokens" in page
    assert "<script>alert" not in page and "\u200b" not in page.partition("<textarea")[0]


def test_two_texts_stand_side_by_side(client, send, finish):
    first = number_of(send(text="one"))
    finish()
    second = number_of(send(text="two"))
    assert "is not done" in client.get(f"{PAGE}/{first}?other={second}").text
    finish()
    (row,) = client.get(f"{PAGE}/{first}.json?other={second}").json()["differences"]
    assert (row["layer"], row["neuron"], row["here"], row["there"]) == (0, 1, 1.25, 1.25)


def test_what_ablation_did_is_said(client, send, finish):
    number = number_of(send(text="one", ablate="0:1, 3:2", baseline="zero"))
    finish(ablation=TextAblation(0.125, 0.0625))
    page = client.get(f"{PAGE}/{number}").text
    assert "2 neurons set to" in " ".join(page.split()) and "0.125 instead of 2.000" in page


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"text": "x" * 20_001}, "more than 20,000"),
        ({"text": "x", "ablate": "0-1"}, "is no neuron such as 5:131"),
        ({"text": "x", "ablate": "99:0"}, "there is no neuron 99:0"),
        ({"text": "x", "baseline": "median"}, "neither of mean and zero"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(send, fields, said):
    answer = send(**fields)
    assert answer.status_code == 422 and said in answer.text


def test_a_text_from_another_site_is_refused(client):
    csrf = Fields(client.get(PAGE).text).values["csrf"]
    elsewhere = {"Origin": "http://evil.example"}
    for data, headers in (({"csrf": csrf}, elsewhere), ({"csrf": "guessed"}, {}), ({}, {})):
        answer = client.post(PAGE, data={"text": "x", **data}, headers=headers)
        assert answer.status_code == 403, answer.text


@pytest.mark.parametrize("path", [f"{PAGE}/99", "/runs/nowhere/text", f"{PAGE}/1?top=-1"])
def test_what_is_not_there_is_said(client, path):
    assert client.get(path).status_code in (404, 422)
