"""Flags and notes that people leave on neurons."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, text

from db.rows import NeuronRows
from db.tables.notes import neuron_note_table
from db.tables.runs import neuron_table

FLAGS = ("right", "wrong", "unclear", "interesting")
LONGEST_NOTE = 2000  # characters
LONGEST_AUTHOR = 100  # characters
# Whoever can reach the server may leave notes; these limits bound what they can fill.
MOST_NOTES = 100  # of one neuron
MOST_PER_MINUTE = 30  # from everybody together


class NoteRefused(ValueError):
    """A note that is not stored, and why, in words."""


@dataclass(frozen=True, slots=True)
class NeuronNoteRow:
    """A flag on a neuron, a note about it, or both; see `NeuronNoteColumns`."""

    run_id: int
    layer: int
    neuron: int
    flag: str | None
    text: str
    author: str
    created_at: datetime


notes = NeuronRows(neuron_note_table, NeuronNoteRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNote:
    """What somebody writes about a neuron: a flag, a text, or both."""

    run_id: int
    layer: int
    neuron: int
    flag: str | None = None
    text: str = ""
    author: str = ""


def add(connection: Connection, note: NewNote) -> None:
    """Store a note.

    Raises:
        NoteRefused: It is empty or too long, its flag is unknown, the run has no such neuron, or
            there are too many. Two at the same moment may both become the last one that is taken.
    """
    _check(note)
    _check_neuron(connection, note)
    _check_room(connection, note)
    values = {name: getattr(note, name) for name in NewNote.__slots__}
    connection.execute(insert(neuron_note_table).values(values))


def _check(note: NewNote) -> None:
    if not note.text.strip() and note.flag is None:
        raise NoteRefused("The note is empty.")
    if note.flag is not None and note.flag not in FLAGS:
        raise NoteRefused(f"There is no such flag; there are {', '.join(FLAGS)}.")
    bounds = (("note", note.text, LONGEST_NOTE), ("name", note.author, LONGEST_AUTHOR))
    for name, value, longest in bounds:
        if len(value) > longest:
            raise NoteRefused(f"The {name} has {len(value):,} characters, more than {longest:,}.")
        # Postgres stores neither.
        if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
            raise NoteRefused(f"The {name} has NUL, or half of a surrogate pair, in it.")


def _check_neuron(connection: Connection, note: NewNote) -> None:
    found = select(neuron_table.c.neuron).where(
        neuron_table.c.run_id == note.run_id,
        neuron_table.c.layer == note.layer,
        neuron_table.c.neuron == note.neuron,
    )
    if connection.scalar(found) is None:
        raise NoteRefused("The run has no such neuron.")


def _check_room(connection: Connection, note: NewNote) -> None:
    columns = neuron_note_table.c
    of_neuron = select(func.count()).where(
        columns.run_id == note.run_id, columns.layer == note.layer, columns.neuron == note.neuron
    )
    if int(connection.scalar(of_neuron) or 0) >= MOST_NOTES:
        raise NoteRefused(f"There are {MOST_NOTES} notes on this neuron already.")
    lately = select(func.count()).where(
        columns.created_at > func.now() - text("interval '1 minute'")
    )
    if int(connection.scalar(lately) or 0) >= MOST_PER_MINUTE:
        raise NoteRefused(f"More than {MOST_PER_MINUTE} notes in a minute: wait a minute.")
