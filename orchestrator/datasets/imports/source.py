"""Sources of published datasets: a folder, or a server that is read by HTTPS."""

import hashlib
import ipaddress
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from neurogloss.errors import InputError, ServiceUnavailable
from neurogloss.llm.bounded_http import BlockingHttp, UnreadableBody
from orchestrator.datasets.export import CHECKSUMS
from orchestrator.datasets.files import read_checksums, read_file
from orchestrator.datasets.openai.writer import RECORDS

log = logging.getLogger(__name__)

MOST_BYTES = 64 << 20  # of a file about one neuron; OpenAI's files have about a hundredth of this
CHECKSUMS_BYTES = 1 << 30  # a dataset of GPT-2 XL has more than a million files
ANSWER_S = 120.0  # for a file about one neuron
CHECKSUMS_S = 1800.0  # for the list of all files: 307,200 lines and more
ATTEMPTS = 8  # with the waits below, a server may be away for about two minutes
FIRST_ATTEMPTS = 4  # as long as it has never answered: its address may be wrong
LONGEST_WAIT_S = 60.0
_RECORDS_PATH = re.compile(RECORDS.replace(".", r"\.").format(r"(\d{1,5})", r"(\d{1,10})"))


class Source(Protocol):
    """A dataset. `name` is its folder or URL, `listed` its checksums by path, empty if none."""

    name: str
    listed: dict[str, str]

    def read(self, path: str) -> bytes | None:
        """Return the content of a file, None if it does not exist.

        Raises:
            InputError: The file cannot be read, or its checksum differs from the listed one.
        """

    def neurons(self) -> dict[int, list[int]]:
        """Return the neurons of each layer, sorted; empty if the source cannot list its files."""


def open_source(name: str, concurrency: int) -> Source:
    """Return the source with this folder or URL as its name.

    Raises:
        InputError: The name is neither a folder nor a URL, or the source cannot be read.
    """
    if "://" in name:
        return HttpSource(name, concurrency)
    return FolderSource(Path(name))


def _in_order(paths: Mapping[str, str] | list[str]) -> dict[int, list[int]]:
    neurons: dict[int, list[int]] = {}
    for path in paths:
        if match := _RECORDS_PATH.fullmatch(path):
            neurons.setdefault(int(match[1]), []).append(int(match[2]))
    return {layer: sorted(neurons[layer]) for layer in sorted(neurons)}


def _checked(path: str, content: bytes | None, listed: Mapping[str, str]) -> bytes | None:
    expected = listed.get(path)
    if expected and (content is None or hashlib.sha256(content).hexdigest() != expected):
        state = "is missing" if content is None else "differs from its checksum"
        raise InputError(f"{path} {state} (see {CHECKSUMS})")
    return content


class FolderSource:
    """A dataset in a folder."""

    def __init__(self, root: Path) -> None:
        self.name = str(root.absolute())
        self._root = root
        if not root.is_dir():
            raise InputError(f"{root} is not a folder; a URL begins with https://")
        self.listed: dict[str, str] = {}
        if content := self.read(CHECKSUMS):
            self.listed = _read_checksums(content)

    def read(self, path: str) -> bytes | None:
        """Return the content of a file, None if it does not exist."""
        file = self._root / path
        try:
            content = read_file(file, CHECKSUMS_BYTES if path == CHECKSUMS else MOST_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return _checked(path, None, self.listed)
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror}") from error
        return _checked(path, content, self.listed)

    def neurons(self) -> dict[int, list[int]]:
        """Return the neurons that have a file of records, by layer."""
        folder = self._root / RECORDS.split("/", 1)[0]
        files = folder.glob("*/*.json") if folder.is_dir() else ()
        return _in_order([file.relative_to(self._root).as_posix() for file in files])


def _read_checksums(content: bytes) -> dict[str, str]:
    try:
        return read_checksums(content.decode("utf-8"), CHECKSUMS)
    except UnicodeDecodeError as error:
        raise InputError(f"{CHECKSUMS} is not UTF-8") from error


class _TryAgain(Exception):
    """A request failed and may be repeated, after `after_s` seconds if the server says so."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_s = after_s


class HttpSource:
    """A dataset on a server that serves files by GET; no listing of folders is needed."""

    def __init__(self, url: str, concurrency: int) -> None:
        _check_url(url)
        self.name = url.rstrip("/")
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        self._http = BlockingHttp(self.name, limits=limits)
        self._has_answered = False
        self._retrying = Retrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=lambda state: state.attempt_number >= self._n_attempts,
            wait=_wait,
            before_sleep=_tell,
            reraise=True,
        )
        self.listed: dict[str, str] = {}
        if content := self._get(CHECKSUMS, CHECKSUMS_BYTES, CHECKSUMS_S):
            self.listed = _read_checksums(content)

    def read(self, path: str) -> bytes | None:
        """Return the content of a file, None if it does not exist; failed requests are repeated."""
        return _checked(path, self._get(path, MOST_BYTES, ANSWER_S), self.listed)

    def neurons(self) -> dict[int, list[int]]:
        """Return the neurons in the list of checksums, by layer."""
        return _in_order(self.listed)

    @property
    def _n_attempts(self) -> int:
        return ATTEMPTS if self._has_answered else min(ATTEMPTS, FIRST_ATTEMPTS)

    def _get(self, path: str, most: int, seconds: float) -> bytes | None:
        try:
            return self._retrying(self._get_once, path, most, seconds)
        except _TryAgain as error:
            raise InputError(
                f"{self.name}/{path}: {error.reason}, in {self._n_attempts} attempts"
            ) from error

    def _get_once(self, path: str, most: int, seconds: float) -> bytes | None:
        url = f"{self.name}/{quote(path)}"
        try:
            response = self._http.send("GET", quote(path), seconds=seconds, most_bytes=most)
        except (UnreadableBody, httpx.InvalidURL) as error:
            raise InputError(f"{url}: {error}") from error
        except ServiceUnavailable as error:
            raise _TryAgain(str(error)) from error
        self._has_answered = True
        return self._content(response, url)

    def _content(self, response: httpx.Response, url: str) -> bytes | None:
        status = response.status_code
        if status == httpx.codes.NOT_FOUND:
            return None
        if status == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
            raise _TryAgain(f"the server answers {status}", _seconds(response.headers))
        if status != httpx.codes.OK:
            raise InputError(f"{url}: the server answers {status}, not 200")
        return response.content


def _seconds(headers: httpx.Headers) -> float | None:
    try:
        return float(headers["Retry-After"])
    except (KeyError, ValueError):
        return None


def _tell(state: RetryCallState) -> None:
    reason = str(state.outcome.exception()) if state.outcome else ""
    seconds = round(state.upcoming_sleep, 1)
    log.warning("source asked again", extra={"seconds": seconds, "reason": reason})


def _wait(state: RetryCallState) -> float:
    """Return the seconds to wait: `Retry-After` if the server sent it, else 1, 2, 4, .. s."""
    error = state.outcome.exception() if state.outcome else None
    after_s = error.after_s if isinstance(error, _TryAgain) else None
    wait_s = 0.5 * 2**state.attempt_number if after_s is None else max(0.0, after_s)
    # A server may ask for hours; a person should then hear of it and try again later.
    return min(LONGEST_WAIT_S, wait_s)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise InputError(f"{url}: no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"{url}: not of the form https://server/folder")
    # The URL is stored as the origin of the run and shown on its pages: it must hold no password.
    if parts.username or parts.query or parts.fragment:
        raise InputError(f"{host}: a URL with a user, a query or a fragment is not supported")
    # Without TLS, whoever changes a file on its way can change the list of checksums too.
    if parts.scheme == "http" and not _is_loopback(host):
        raise InputError(f"{url}: only https is allowed for other machines")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
