"""A wall clock that is wrong by so many seconds. Monotonic clocks go on as they do."""

import datetime
import time


def shift(offset: float) -> None:
    right = time.time

    class _Kind(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, _right_datetime)

    class _Datetime(_right_datetime, metaclass=_Kind):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return _right_datetime.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls) -> datetime.datetime:
            return _right_datetime.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)

    time.time = lambda: right() + offset
    time.time_ns = lambda: int((right() + offset) * 1e9)
    datetime.datetime = _Datetime  # type: ignore[misc]


_right_datetime = datetime.datetime
