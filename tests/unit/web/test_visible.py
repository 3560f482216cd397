"""Hostile text as HTML."""

import pytest

from web.visible import FOLDED, LONGEST, token, visible


@pytest.mark.parametrize(
    "hidden", ["\u202e", "\u200b", "\ufeff", "\x00", "\x1b", "\u2066", "\u00ad", "\U000e0041"]
)
def test_an_invisible_character_is_shown_by_its_number(hidden):
    shown = visible(f"a{hidden}b")
    assert hidden not in shown
    assert f"U+{ord(hidden):04X}" in shown


def test_markup_is_text():
    assert "<script>" not in visible("<script>alert('1')</script>\n\"quoted\"")
    assert visible("<b>") == "&lt;b&gt;"


def test_white_space_is_seen():
    assert "⏎" in visible("one\ntwo")
    assert "⇥" in token("\t")
    assert token(" the").striptags() == "·the"
    assert "␣" in token(" ")


def test_a_long_text_is_folded_and_an_endless_one_is_cut():
    assert "<details" not in visible("a" * FOLDED)
    folded = visible("a" * (FOLDED + 1))
    assert folded.count("a" * 100) and f"{FOLDED + 1:,} characters" in folded
    endless = visible("b" * (10 * LONGEST))
    assert endless.count("b") < LONGEST + 100
    assert f"the first {LONGEST:,}" in endless
