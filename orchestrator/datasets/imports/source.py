"""Where a published dataset is read from: a folder, or plain HTTPS."""

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from neurogloss.errors import InputError
from orchestrator.datasets.export import CHECKSUMS
from orchestrator.datasets.files import read_checksums
from orchestrator.datasets.openai.writer import RECORDS

MOST_BYTES = 64 << 20  # of a file about one neuron; those of OpenAI have about a hundredth of it
ATTEMPTS = 8
LONGEST_WAIT_S = 60.0
_RECORDS_PATH = re.compile(RECORDS.replace(".", r"\.").format(r"(\d{1,5})", r"(\d{1,10})"))


class Source(Protocol):
    """A dataset. `name` is the folder or URL, `listed` its checksums by path, if it has any."""

    name: str
    listed: dict[str, str]

    def read(self, path: str) -> bytes | None:
        """Return a file; None if there is none.

        Raises:
            InputError: It cannot be read, or is not what the checksums say.
        """

    def neurons(self) -> dict[int, list[int]]:
        """Return the neurons of each layer that are known to be there; none where nobody knows."""


def open_source(name: str, concurrency: int) -> Source:
    """Return the source of this name.

    Raises:
        InputError: It is no folder and no URL, or it cannot be read.
    """
    if "://" in name:
        return HttpSource(name, concurrency)
    return FolderSource(Path(name))


def _in_order(paths: Mapping[str, str] | list[str]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for path in paths:
        if match := _RECORDS_PATH.fullmatch(path):
            found.setdefault(int(match[1]), []).append(int(match[2]))
    return {layer: sorted(found[layer]) for layer in sorted(found)}


def _checked(path: str, content: bytes | None, listed: Mapping[str, str]) -> bytes | None:
    expected = listed.get(path)
    if expected and (content is None or hashlib.sha256(content).hexdigest() != expected):
        state = "is missing" if content is None else "is not the file that it lists"
        raise InputError(f"{path} {state} (see {CHECKSUMS})")
    return content


class FolderSource:
    """A dataset in a folder."""

    def __init__(self, root: Path) -> None:
        self.name = str(root.absolute())
        self._root = root
        if not root.is_dir():
            raise InputError(f"{root} is no folder; a URL begins with https://")
        self.listed: dict[str, str] = {}
        if content := self.read(CHECKSUMS):
            self.listed = _read_checksums(content)

    def read(self, path: str) -> bytes | None:
        """Return a file of the folder."""
        file = self._root / path
        try:
            if file.stat().st_size > MOST_BYTES and path != CHECKSUMS:
                raise InputError(f"{file} has more than {MOST_BYTES >> 20} MiB")
            content = file.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return _checked(path, None, self.listed)
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror}") from error
        return _checked(path, content, self.listed)

    def neurons(self) -> dict[int, list[int]]:
        """Return the neurons that have a file of records."""
        folder = self._root / RECORDS.split("/", 1)[0]
        files = folder.glob("*/*.json") if folder.is_dir() else ()
        return _in_order([file.relative_to(self._root).as_posix() for file in files])


def _read_checksums(content: bytes) -> dict[str, str]:
    try:
        return read_checksums(content.decode("utf-8"), CHECKSUMS)
    except UnicodeDecodeError as error:
        raise InputError(f"{CHECKSUMS}: no UTF-8") from error


class _TryAgain(Exception):
    """The server did not answer, or asked to wait `after_s`."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason, after_s)
        self.reason = reason
        self.after_s = after_s


class HttpSource:
    """A dataset on a server that gives files by GET and is not asked for a listing."""

    def __init__(self, url: str, concurrency: int) -> None:
        _check_url(url)
        self.name = url.rstrip("/")
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        self._client = httpx.Client(limits=limits, timeout=60.0)
        self._retrying = Retrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=stop_after_attempt(ATTEMPTS),
            wait=_wait,
            reraise=True,
        )
        self.listed: dict[str, str] = {}
        if content := self._get(CHECKSUMS, 1 << 30):
            self.listed = _read_checksums(content)

    def read(self, path: str) -> bytes | None:
        """Return a file of the server; it is asked again, in its time, if it does not answer."""
        return _checked(path, self._get(path, MOST_BYTES), self.listed)

    def neurons(self) -> dict[int, list[int]]:
        """Return the neurons that its checksums list."""
        return _in_order(self.listed)

    def _get(self, path: str, most: int) -> bytes | None:
        try:
            return self._retrying(self._get_once, path, most)
        except _TryAgain as error:
            raise InputError(f"{self.name}/{path}: {error.reason}, {ATTEMPTS} times") from error

    def _get_once(self, path: str, most: int) -> bytes | None:
        url = f"{self.name}/{quote(path)}"
        try:
            with self._client.stream("GET", url) as response:
                return self._content(response, url, most)
        except httpx.DecodingError as error:
            raise InputError(f"{url}: the answer cannot be decoded: {error}") from error
        except httpx.TransportError as error:
            raise _TryAgain(f"no answer ({type(error).__name__}: {error})") from error
        except httpx.InvalidURL as error:
            raise InputError(f"{url}: {error}") from error

    def _content(self, response: httpx.Response, url: str, most: int) -> bytes | None:
        status = response.status_code
        if status == httpx.codes.NOT_FOUND:
            return None
        if status == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
            raise _TryAgain(f"the answer is {status}", _seconds(response.headers))
        if status != httpx.codes.OK:
            raise InputError(f"{url}: the answer is {status}, not the file")
        content = bytearray()
        for part in response.iter_bytes():
            content += part
            if len(content) > most:
                raise InputError(f"{url} has more than {most >> 20} MiB")
        return bytes(content)


def _seconds(headers: httpx.Headers) -> float | None:
    try:
        return float(headers["Retry-After"])
    except (KeyError, ValueError):
        return None


def _wait(state: RetryCallState) -> float:
    """Return how long to wait: as long as the server says, or longer from time to time."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.after_s if isinstance(error, _TryAgain) else None
    return min(LONGEST_WAIT_S, 0.5 * 2**state.attempt_number if asked is None else max(0.0, asked))


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise InputError(f"{url}: no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"{url}: not of the form https://server/folder")
    if parts.username or parts.query or parts.fragment:
        raise InputError(f"{host}: a URL with a user, a query or a fragment is not read")
    if parts.scheme == "http" and not _is_loopback(host):
        raise InputError(f"{url}: only https is read from other machines")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
