"""Untrusted text as HTML: invisible characters are shown, and long text is folded.

Explanations and tokens come from models and corpora. Escaping keeps them from being HTML; this
keeps them from hiding, reversing or flooding what stands around them.
"""

import unicodedata

from markupsafe import Markup, escape

LONGEST = 10_000
"""Characters of a text that a page shows at all."""

FOLDED = 600
"""Characters of a text that a page shows at once; the others unfold."""

_WHITE_SPACE = {"\n": "⏎", "\r": "␍", "\t": "⇥"}


def visible(text: str) -> Markup:
    """Return text as HTML, with invisible characters as their numbers, folded where it is long."""
    cut = text[:LONGEST]
    if len(text) <= FOLDED:
        return _marked(text)
    note = f"{len(text):,} characters"
    if len(text) > LONGEST:
        note += f", of which the first {LONGEST:,} are shown"
    return Markup(
        "<details class=fold><summary>{}… <small>({})</small></summary>{}</details>"
    ).format(_marked(cut[:FOLDED]), note, _marked(cut[FOLDED:]))


def token(text: str) -> Markup:
    """Return a token as HTML, with its white space visible."""
    if text.startswith(" "):
        return (
            Markup("<i class=sp>·</i>") + _marked(text[1:])
            if len(text) > 1
            else Markup("<i class=sp>␣</i>")
        )
    return _marked(text)


def _marked(text: str) -> Markup:
    return Markup("").join(map(_character, text)) if not text.isprintable() else escape(text)


def _character(character: str) -> Markup:
    if character.isprintable():
        return escape(character)
    if character in _WHITE_SPACE:
        return Markup("<i class=sp>{}</i>").format(_WHITE_SPACE[character])
    name = unicodedata.name(character, "a character without a name")
    return Markup('<i class=odd title="{}">U+{:04X}</i>').format(name, ord(character))
