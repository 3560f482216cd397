"""Paths in a run file: relative ones start from the folder in which the file is."""

from pathlib import Path
from typing import Self

from pydantic import PrivateAttr

from neurogloss.config.section import Section

SHIPPED = frozenset({"demo", "python-docs"})  # names of what comes with neurogloss


class SectionOfFile(Section):
    """Values of a file that know its folder, which is none of them: it changes no hash."""

    _folder: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path | None:
        """The folder of the file; None if there was no file, or it was not recorded."""
        return self._folder

    def read_in(self, folder: Path | None) -> Self:
        """Return the same values, of a file that is in a folder."""
        copy = self.model_copy()
        copy._folder = folder
        return copy

    def located(self, value: str) -> str:
        """Return where a model or a corpus is that the file names.

        What is not beside the file is returned as it is written: a name on the hub, an absolute
        path, or a path from the current folder, as all paths were before runs knew their folder.
        """
        if self._folder is None or value in SHIPPED:
            return value
        beside = self._folder / value
        try:
            return str(beside) if beside.exists() else value
        except (OSError, ValueError):  # no name of a file: too long, or with a NUL in it
            return value
