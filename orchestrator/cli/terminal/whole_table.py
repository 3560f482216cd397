"""Tables whose numbers are never cut: where one does not fit, its rows are shown as lines."""

import os
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

PIPE_WIDTH = 200  # columns, where the output is no terminal: a file can be wider than a screen


def output_console(*, stderr: bool = False) -> Console:
    """Return the console of standard output, or of standard error."""
    console = Console(stderr=stderr)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(stderr=stderr, width=max(PIPE_WIDTH, console.width))


class WholeTable(Table):
    """A table with a title, columns of text, which may wrap, and columns of numbers.

    Args:
        title: Above the table.
        texts: Headings of the columns of text that come first.
        numbers: Headings of the columns of numbers after them.
    """

    def __init__(self, title: str, *, texts: tuple[str, ...] = (), numbers: tuple[str, ...] = ()):
        super().__init__(title=title, title_justify="left")
        for heading in texts:
            self.add_column(heading, overflow="fold")
        for heading in numbers:
            self.add_column(heading, justify="right", no_wrap=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table, or its rows as lines where the console is too narrow for it."""
        # rich cuts cells with an ellipsis where it has too little room; a cut number is another
        # number.
        for column in self.columns:
            if column.no_wrap:
                column.min_width = _widest(column)
        # Without a limit, as rich would otherwise return a width within it.
        needed = self.__rich_measure__(console, options.update(max_width=10_000)).minimum
        if needed <= options.max_width:
            yield from super().__rich_console__(console, options)
        else:
            yield from self._lines(options.max_width)

    def _lines(self, width: int) -> Iterator[Text]:
        """Yield the title and, for each row, its first cell and then its headings with values."""
        yield Text(str(self.title), style="italic")
        headings = [str(column.header) for column in self.columns[1:]]
        for first, *others in zip(*(list(column.cells) for column in self.columns), strict=True):
            yield Text(str(first), style="bold")
            pairs = zip(headings, map(str, others), strict=True)
            yield from _filled([f"{heading} {value}".strip() for heading, value in pairs], width)


def _filled(parts: Sequence[str], width: int) -> Iterator[Text]:
    """Yield lines with as many parts as fit, so that a value stays beside its heading."""
    line = ""
    for part in parts:
        # In cells of the terminal: a Chinese character takes two.
        if line and cell_len(line) + cell_len(part) + 3 > width:
            yield Text(line)
            line = ""
        line = f"{line}   {part}" if line else f"  {part}"
    yield Text(line)


def _widest(column: Column) -> int:
    return max(cell_len(str(cell)) for cell in (column.header, *column.cells))
