"""Values that take too long for a page: read in the background, by one reader for all pages."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

EVERY_S = 5.0  # between two readings of what takes longer than a page may
WAIT_S = 0.1  # for a value that nobody has asked for before
MOST = 64  # values that are kept

log = logging.getLogger(__name__)


class Refreshed(Generic[K, V]):
    """Values by key, each as it was at most some seconds ago. Safe to use from several threads.

    Args:
        load: Returns the value of a key, in a thread of its own.
        every_s: A value is read again, when it is asked for, after so many seconds.
        wait_s: How long to wait for the first value, or for a new one where nobody asked for long.
    """

    def __init__(
        self, load: Callable[[K], V], *, every_s: float = EVERY_S, wait_s: float = WAIT_S
    ) -> None:
        self._load, self._every_s, self._wait_s = load, every_s, wait_s
        self._lock = threading.Lock()
        # Two, so that one slow value does not hold up all others, and few connections are taken.
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="refresh")
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many values are kept."""
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return the latest value; None while the first one takes longer than a page may wait."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > MOST:
                self._entries.popitem(last=False)
            now = time.monotonic()
            is_old = now >= entry.due_at + self._every_s  # or nobody has asked before
            is_read = entry.reading is None or entry.reading.done()
            if is_read and now >= entry.due_at:
                entry.reading = self._threads.submit(self._read, key, entry)
            reading = entry.reading
        # Outside of the lock: other threads can get their values meanwhile.
        if is_old and reading is not None:
            wait([reading], self._wait_s)
        return entry.value

    def _read(self, key: K, entry: "_Entry[V]") -> None:
        started = time.monotonic()
        try:
            entry.value = self._load(key)
        except Exception:  # of any kind: pages show what was read before
            log.exception("value not read", extra={"key": str(key)})
        # What takes long is read seldom: its reader keeps the database busy for a part of the time.
        took_s = time.monotonic() - started
        entry.due_at = time.monotonic() + max(self._every_s, 4 * took_s)

    def close(self) -> None:
        """Stop reading values, without waiting for those that are being read."""
        self._threads.shutdown(wait=False, cancel_futures=True)


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V | None = None
    due_at: float = 0.0
    reading: Future[None] | None = None
