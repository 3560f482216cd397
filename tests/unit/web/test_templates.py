"""Templates whose lines are joined by Jinja keep a space between what they say."""

import re
from pathlib import Path

TEMPLATES = Path(__file__).parents[3] / "web" / "templates"
# Jinja removes the line end behind a tag, and the indentation before one.
JOINED = re.compile(
    r"[^\s>](?:\{% end(?:if|for) %\})+\n *(?:\{% (?:if|for) [^%]*%\})+(?=[^\s<{])", re.MULTILINE
)


def test_the_pattern_finds_sentences_without_a_space_between_them():
    assert JOINED.search("{% if a %}One.{% endif %}\n  {% if b %}Two.{% endif %}")
    assert not JOINED.search("{% if a %}One.\n{% endif %}\n  {% if b %}Two.{% endif %}")


def test_no_two_conditional_texts_are_joined_without_a_space():
    found = {
        path.name: match[0]
        for path in TEMPLATES.rglob("*.html")
        for match in JOINED.finditer(path.read_text())
    }
    assert found == {}
