"""Worlds beside each other, which share schedules: while a run waits in one, the others work."""

import multiprocessing
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Self

from tests.chaos.outcome import Outcome
from tests.chaos.schedule import Stage
from tests.chaos.world import World

_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Schedule:
    """A seed, the kinds of faults that it deals, and how many of them."""

    seed: int
    kinds: tuple[str, ...]
    n_faults: int


@dataclass(frozen=True)
class Rehearsed:
    """A world in which a run left what it should, undisturbed."""

    seconds: float
    left_out: list[str]


class Worlds:
    """Runs schedules in the order in which they stand, one at a time in each world. A context.

    Each world rehearses for itself: the identity of a call has the address of its endpoint in it.

    Attributes:
        rehearsed: The first world that is ready.
    """

    def __init__(
        self,
        folder: Path,
        neurons: int,
        schedules: Sequence[Schedule],
        n_worlds: int = 2,
        mutation: str = "",
    ) -> None:
        self._to_do: Queue[Schedule | None] = _spawn.Queue()
        self._said: Queue[Rehearsed | Outcome | str] = _spawn.Queue()
        self._folder, self._schedules = folder, schedules
        self._processes: list[BaseProcess] = [
            _spawn.Process(
                target=_live,
                args=(folder / str(number), mutation, neurons, self._to_do, self._said),
            )
            for number in range(n_worlds)
        ]

    def __enter__(self) -> Self:
        self._folder.chmod(0o755)  # as root, the servers run under another account
        for schedule in (*self._schedules, *[None] * len(self._processes)):
            self._to_do.put(schedule)
        for process in self._processes:
            process.start()
        try:
            self.rehearsed = self._next()
        except BaseException:
            self.__exit__()  # or the other worlds go on
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._to_do.cancel_join_thread()  # schedules that nobody takes any more would be waited for
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what came of each schedule, as they end.

        Raises:
            RuntimeError: A world failed, or ended without a word.
        """
        n_left = len(self._schedules)
        while n_left:
            if isinstance(said := self._next(), Outcome):
                n_left -= 1
                yield said

    def _next(self) -> Rehearsed | Outcome:
        while True:
            try:
                said = self._said.get(timeout=5)
            except Empty:
                codes = [process.exitcode for process in self._processes]
                if None in codes and not any(codes):
                    continue
                raise RuntimeError(f"a world has ended: {codes}") from None
            if isinstance(said, str):
                raise RuntimeError(f"a world failed: {said}")
            return said


def _live(
    folder: Path,
    mutation: str,
    neurons: int,
    to_do: "Queue[Schedule | None]",
    said: "Queue[Rehearsed | Outcome | str]",
) -> None:
    """Be a world, in a process of its own, until nothing is to do."""
    signal.signal(signal.SIGTERM, _end)
    try:
        folder.mkdir()
        with World(folder, mutation) as world:
            stage = Stage(world, neurons)
            rehearsed = stage.rehearse()
            if rehearsed.wrong:
                raise AssertionError(f"undisturbed: {rehearsed.wrong}")
            said.put(Rehearsed(stage.undisturbed_s, world.left_out))
            for schedule in iter(to_do.get, None):
                said.put(stage.run(schedule.seed, schedule.kinds, schedule.n_faults))
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except Exception:
        said.put(traceback.format_exc())


def _end(*_: object) -> None:
    """End the processes of the world; nothing interrupts that, or some of them would outlive it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)
