"""What the rehearsal server says to the questions of a revision."""

import json

from neurogloss.neurons.illustration import illustration_body, read_illustration
from neurogloss.neurons.records import ActivationRecord
from neurogloss.neurons.revision import ObservedSentence, revision_body
from rehearsal.answers import OPENING, answer
from rehearsal.chat_requests import read_chat_request


def said(asked, seed=0):
    body = json.dumps({"model": "rehearsal", **asked}).encode()
    return answer(read_chat_request(body, models=()), seed)


def test_sentences_are_as_many_as_asked_for_all_different_and_the_same_each_time():
    for number in range(50):
        asked = illustration_body(f"words of kind {number}", 40, 64)
        assert said(asked).finish_reason == "stop"
        assert len(read_illustration(said(asked).content, 40)) == 40
        assert said(asked) == said(asked)
    assert said(asked) != said(asked, seed=1)


def test_a_revision_is_an_explanation():
    record = ActivationRecord((" the", " sea"), (0.0, 4.0))
    found = said(revision_body("words", [record], [ObservedSentence(record, is_expected=False)]))
    assert found.content.startswith(f"{OPENING} tokens like ' sea' in ")
    assert found.finish_reason == "stop"
