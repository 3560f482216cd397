"""The current step of a command that waits for servers; on a terminal with the seconds so far."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from orchestrator.cli.terminal.plain import plain


class Steps:
    """Shows one step at a time, on standard error, until the block ends.

    A terminal shows the step and how long it takes; elsewhere each step is a line.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
        self._progress = Progress(
            *columns, TimeElapsedColumn(), console=self._console, transient=True
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, step: str) -> None:
        """Show a step in place of the one before."""
        if not self._console.is_terminal:
            self._console.print(plain(f"{step} ..."), markup=False, highlight=False)
            return
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._progress.add_task(plain(step), total=None)
