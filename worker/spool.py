"""Paid answers that the database did not take before their process ended, in a folder of files.

The next worker on the folder stores them. A file is whole or not there, only its owner can read it,
and what is read is checked: a folder may be shared, copied or damaged.
"""

import logging
import os
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from db.bulk import storable
from neurogloss.errors import InputError
from neurogloss.llm.bounded_http import ANSWER_BYTES
from neurogloss.llm.calls import Answer

log = logging.getLogger(__name__)

MOST_BYTES = 1 << 30  # in the folder
ANSWERS_IN_FILE = 256
FILE_BYTES = 8 * ANSWER_BYTES  # more is not read: an answer, with what JSON makes of it at worst
_SUFFIX, _BAD = ".answers", ".bad"

# The bounds of the columns in which the answers are to be stored.
_Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
_Usd = Annotated[float, Field(ge=0, le=1e6)]
_Name = Annotated[str, Field(max_length=1000)]
_JSON = ConfigDict(
    ser_json_bytes="base64", val_json_bytes="base64", extra="forbid", allow_inf_nan=False
)


class _SpooledAnswer(BaseModel):
    """An answer, with the bounds within which one can be stored; see `neurogloss.llm.calls`."""

    model_config = _JSON
    identity: Annotated[bytes, Field(min_length=32, max_length=32)]
    purpose: _Name
    endpoint: _Name
    model: _Name
    text: str
    finish_reason: str | None
    refusal: str | None
    distributions: bytes | None
    prompt_tokens: _Count
    cached_tokens: _Count
    completion_tokens: _Count
    usd: _Usd
    wasted_usd: _Usd
    attempts: _Count
    latency_ms: _Count
    request_id: str | None


class SpoolFile(BaseModel):
    """The answers of one file, and the run that paid for them."""

    model_config = _JSON
    version: Literal[1] = 1
    run_id: int
    run: _Name
    answers: Annotated[list[_SpooledAnswer], Field(min_length=1, max_length=ANSWERS_IN_FILE)]

    def as_answers(self) -> list[Answer]:
        """Return the answers as the ledger takes them."""
        return [Answer(**answer.model_dump()) for answer in self.answers]


class Spool:
    """A folder of answers. Safe to use from several threads and processes.

    Args:
        folder: Created when it is needed, for its owner alone.
        most_bytes: That its files may have together.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._most_bytes = folder, most_bytes

    def keep(self, run_id: int, run: str, answers: Sequence[Answer]) -> None:
        """Write answers; they are on the disk when this returns.

        Raises:
            OSError: They cannot be written, or the spool is full.
        """
        self._prepare()
        # One answer may be large, so they share a file only while it stays small enough to be read.
        for content in _contents(run_id, run, answers):
            self._write(content)
        fields = {"run": run, "answers": len(answers), "folder": str(self._folder)}
        log.warning("paid answers kept on disk", extra=fields)

    def files(self) -> list[Path]:
        """Return the files, the oldest first."""
        try:
            return sorted(p for p in self._folder.iterdir() if p.suffix == _SUFFIX)
        except OSError:  # there is none, or none that is ours
            return []

    def read(self, path: Path) -> SpoolFile | None:
        """Return what a file holds; None if another process has stored it.

        Raises:
            InputError: It is no file of answers.
        """
        # A link could lead out of the folder, and opening a FIFO would wait for its writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            with os.fdopen(os.open(path, flags), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise InputError("it is no regular file")
                content = file.read(FILE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"it cannot be read: {error.strerror}") from error
        if len(content) > FILE_BYTES:
            raise InputError(f"it has more than {FILE_BYTES:,} bytes")
        try:
            return SpoolFile.model_validate_json(content)
        except ValidationError as error:
            raise InputError(f"it is not of the right form: {_problem(error)}") from error

    def drop(self, path: Path) -> None:
        """Remove a file whose answers are stored."""
        path.unlink(missing_ok=True)

    def set_aside(self, path: Path, reason: str) -> None:
        """Rename a file that cannot be stored. It is not removed: it may have been paid for."""
        log.error("kept answers not stored", extra={"file": str(path), "reason": reason})
        try:
            path.rename(path.with_suffix(_BAD))
        except OSError as error:
            log.warning("file not renamed", extra={"file": str(path), "reason": error.strerror})

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self._folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o007:
            raise PermissionError(f"{self._folder} is no folder that is closed to others")

    def _write(self, content: bytes) -> None:
        used = sum(path.lstat().st_size for path in self._folder.iterdir())
        if used + len(content) > self._most_bytes:
            raise OSError(f"the spool {self._folder} is full: {self._most_bytes:,} bytes")
        # In the order of names, the oldest comes first; the random part tells processes apart.
        name = f"{time.time_ns():020d}-{secrets.token_hex(8)}"
        part = self._folder / f"{name}.part"
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
                f.write(content)
                f.flush()
                os.fsync(f.fileno())
            # The suffix that readers look for comes last, when the file is whole.
            part.rename(self._folder / f"{name}{_SUFFIX}")
        except OSError:
            part.unlink(missing_ok=True)
            raise
        # Else a crash of the host may lose the name of a file whose bytes are on the disk.
        _sync(self._folder)


def _contents(run_id: int, run: str, answers: Sequence[Answer]) -> Iterator[bytes]:
    """Yield the contents of files, each of which is small enough to be read."""
    spooled = [_SpooledAnswer.model_construct(**_values(answer)) for answer in answers]
    for at in range(0, len(spooled), ANSWERS_IN_FILE):
        part = spooled[at : at + ANSWERS_IN_FILE]
        content = _json(run_id, run, part)
        if len(content) <= FILE_BYTES:
            yield content
        else:
            yield from (_json(run_id, run, [answer]) for answer in part)


def _values(answer: Answer) -> dict[str, Any]:
    values = {k: v for k, v in asdict(answer).items() if k in _SpooledAnswer.model_fields}
    return {k: storable(v) if isinstance(v, str) else v for k, v in values.items()}


def _json(run_id: int, run: str, answers: list[_SpooledAnswer]) -> bytes:
    file = SpoolFile.model_construct(version=1, run_id=run_id, run=run, answers=answers)
    return file.model_dump_json().encode()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _problem(error: ValidationError) -> str:
    """Return the first problem, without the value, which may be an answer."""
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:300]
