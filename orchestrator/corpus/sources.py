"""Sources of documents: files, folders, datasets of the Hugging Face hub, or the running Python."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from neurogloss.errors import InputError
from orchestrator.corpus import python_docs
from orchestrator.corpus.files import check_regular, files_of, shown
from orchestrator.corpus.json_line import other_names, text_field, text_of_value
from orchestrator.corpus.long_json import text_of
from orchestrator.corpus.text import COMPRESSED, UNFIT, check_kind, text_lines, text_parts
from orchestrator.corpus.tokenised import Text

Documents = Iterator[tuple[str, Text]]


def documents(source: str, limit: int) -> Documents:
    """Yield (document id, text) of a corpus source; the text of a large file comes in parts.

    Args:
        source: `python-docs`, a .txt, .jsonl or .parquet file, a folder of them, or a hub dataset.
        limit: The number of documents to read of a hub dataset; other sources are read whole.

    Raises:
        InputError: The source does not exist or cannot be read.
    """
    if source == "python-docs":
        return python_docs.documents()
    path = Path(source)
    if _exists(path):
        return itertools.chain.from_iterable(_read(file, path) for file in _files(path))
    if not is_on_hub(source):
        raise InputError(f"corpus.source = {source!r}: there is no such file or folder")
    return itertools.islice(_hub(source), limit)


def is_on_hub(source: str) -> bool:
    """Return whether a corpus source is a dataset of the hub, and none on this machine."""
    path = Path(source)
    is_named_as_file = path.suffix.lower() in _READERS or source.startswith((".", "/"))
    return source != "python-docs" and not is_named_as_file and not _exists(path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # such as a name that is too long
        raise InputError(f"corpus.source: {shown(path)}: {error.strerror}") from error


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        check_regular(path)
        if path.suffix.lower() not in _READERS:
            how = _decompress(path) if _is_compressed(path) else f"is not a {_KINDS} file"
            raise InputError(f"corpus.source = {shown(path)!r} {how}")
        return [path]
    files = files_of(path, _READERS)
    # Left out, the corpus would be another one than the folder looks like.
    if compressed := [file for file in files_of(path, COMPRESSED) if _is_compressed(file)]:
        n_more = f" and {len(compressed) - 1:,} more" if len(compressed) > 1 else ""
        raise InputError(f"{shown(compressed[0])}{n_more} {_decompress(compressed[0])}")
    if not files:
        raise InputError(f"corpus.source = {shown(path)!r} contains no {_KINDS} file")
    return files


def _is_compressed(path: Path) -> bool:
    return path.suffix.lower() in COMPRESSED and Path(path.stem).suffix.lower() in _READERS


def _decompress(path: Path) -> str:
    return f"is compressed, which is not read: run `{COMPRESSED[path.suffix.lower()]}` on it first"


def _read(file: Path, root: Path) -> Documents:
    name = file.name if file == root else file.relative_to(root).as_posix()
    return _READERS[file.suffix.lower()](file, shown(Path(name)))


def _text(file: Path, name: str) -> Documents:
    parts = text_parts(file)
    # Most files are one part: they are then a plain text.
    beginning = list(itertools.islice(parts, 2))
    yield name, "".join(beginning) if len(beginning) < 2 else itertools.chain(beginning, parts)


def _jsonl(file: Path, name: str) -> Documents:
    lines = text_lines(file)
    for number, line in lines:
        where = f"{shown(file)}, line {number}"
        if not isinstance(line, str):
            yield f"{name}:{number}", _long_text(line, where)
        # A mark in the midst: files that were appended to one another.
        elif stripped := line.lstrip("\ufeff").strip():
            text = text_field(stripped, where)
            if unfit := UNFIT.search(text):
                raise InputError(_unfit(where, unfit[0], lines))
            yield f"{name}:{number}", text


def _long_text(parts: Iterator[str], where: str) -> Iterator[str]:
    try:
        for part in text_of(itertools.chain([next(parts).lstrip("\ufeff")], parts)):
            yield _fit(part, where)
    except ValueError as error:
        raise InputError(
            f'{where}: expected a JSON object with a string "text": {error}'
        ) from error


def _fit(text: str, where: str) -> str:
    if unfit := UNFIT.search(text):
        raise InputError(_unfit(where, unfit[0], ()))
    return text


def _unfit(where: str, found: str, others: Iterable[tuple[int, str | Iterator[str]]]) -> str:
    """Return what is wrong with a text, and in how many lines of those that follow too."""
    n_lines = 1 + sum(1 for _, line in others if isinstance(line, str) and _is_unfit(line))
    more = f"; {n_lines:,} such lines in all" if n_lines > 1 else ""
    if found == "\0":
        return f"{where}: the text holds \\u0000, a NUL, which is no character: remove it{more}"
    return (
        f"{where}: the text holds \\u{ord(found):04x}, half a surrogate pair, which is no "
        f"character: remove it, or write the whole pair{more}"
    )


def _is_unfit(line: str) -> bool:
    try:
        return bool(UNFIT.search(text_field(line.lstrip("\ufeff").strip(), "")))
    except InputError:  # it is refused for that once these are mended
        return False


def _parquet(file: Path, name: str) -> Documents:
    rows = (row for batch in _parquet_batches(file) for row in batch.column("text"))
    for number, text in enumerate(rows, start=1):
        yield f"{name}:{number}", _value(text, f"{shown(file)}, row {number}")


def _value(scalar: Any, where: str) -> str:
    try:
        return _fit(text_of_value(scalar.as_py(), where), where)
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: the text is not UTF-8: {error.reason}") from error


def _parquet_batches(file: Path) -> Iterator[Any]:
    """Yield batches of `_PARQUET_ROWS` rows, so that a file of any size fits in memory."""
    try:
        from pyarrow import ArrowException, parquet  # an optional extra, since it is large
    except ImportError as error:
        raise InputError(
            f"corpus.source: {shown(file)} needs the package pyarrow: "
            "pip install 'neurogloss[parquet]'"
        ) from error
    check_kind(file)
    try:
        with parquet.ParquetFile(file) as opened:
            if "text" not in (names := opened.schema_arrow.names):
                what = other_names(names, "columns")
                raise InputError(f'{shown(file)}: expected a column "text"; {what}')
            yield from opened.iter_batches(batch_size=_PARQUET_ROWS, columns=["text"])
    except (ArrowException, OSError) as error:
        raise InputError(f"{shown(file)} cannot be read as parquet: {error}") from error


_PARQUET_ROWS = 16  # at a time; a row may be a book
_READERS = {".txt": _text, ".jsonl": _jsonl, ".parquet": _parquet}
_KINDS = ".txt, .jsonl or .parquet"


def _hub(source: str) -> Documents:
    try:
        from datasets import load_dataset  # an optional extra, since it is large
    except ImportError as error:
        raise InputError(
            f"corpus.source = {source!r} is not a file; hub datasets need the package datasets: "
            "pip install 'neurogloss[hub]'"
        ) from error
    from neurogloss.hub import HubUnreachable, reach  # late: only hub datasets need it

    try:
        reach(source, "README.md", "dataset")
    except HubUnreachable as error:
        raise InputError(
            f"corpus.source = {source!r} is no file or folder, and the hub cannot be reached: "
            f"{error}. A {_KINDS} file needs no hub."
        ) from error
    try:
        # Streamed, so that only the documents that are read are downloaded.
        rows = load_dataset(source, split="train", streaming=True)
    except Exception as error:  # errors of the hub, the network and the name have no common class
        raise InputError(f"corpus.source = {source!r} cannot be loaded: {error}") from error
    for number, row in enumerate(rows):
        where = f"corpus.source = {source!r}, row {number}"
        if "text" not in row:
            what = other_names(list(row), "columns")
            raise InputError(f'{where}: expected a column "text"; {what}')
        yield f"{source}:{number}", _fit(text_of_value(row["text"], where), where)
