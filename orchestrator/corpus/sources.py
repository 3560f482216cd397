"""Sources of documents: files, folders, datasets of the Hugging Face hub, or the running Python."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neurogloss.errors import InputError
from orchestrator.corpus import python_docs

Documents = Iterator[tuple[str, str]]


def documents(source: str, limit: int) -> Documents:
    """Yield (document id, text) of a corpus source.

    Args:
        source: `python-docs`, a .txt, .jsonl or .parquet file, a folder of them, or a hub dataset.
        limit: The number of documents to read of a hub dataset; other sources are read whole.

    Raises:
        InputError: The source does not exist or cannot be read.
    """
    if source == "python-docs":
        return python_docs.documents()
    path = Path(source)
    if path.exists():
        return itertools.chain.from_iterable(_read(file, path) for file in _files(path))
    if path.suffix in _READERS or source.startswith((".", "/")):
        raise InputError(f"corpus.source = {source!r}: there is no such file or folder")
    return itertools.islice(_hub(source), limit)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        if path.suffix not in _READERS:
            raise InputError(f"corpus.source = {str(path)!r} is not a {_KINDS} file")
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix in _READERS and file.is_file())
    if not files:
        raise InputError(f"corpus.source = {str(path)!r} contains no {_KINDS} file")
    return files


def _read(file: Path, root: Path) -> Documents:
    name = file.name if file == root else file.relative_to(root).as_posix()
    return _READERS[file.suffix](file, name)


def _text(file: Path, name: str) -> Documents:
    yield name, file.read_text(encoding="utf-8", errors="replace")


def _jsonl(file: Path, name: str) -> Documents:
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"{name}:{number}", _text_field(line, f"{file}, line {number}")


def _text_field(line: str, where: str) -> str:
    try:
        text = json.loads(line)["text"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'{where}: expected a JSON object with a field "text"') from error
    return _string(text, where)


def _string(text: object, where: str) -> str:
    if not isinstance(text, str):
        raise InputError(f'{where}: the field "text" is not a string')
    return text


def _parquet(file: Path, name: str) -> Documents:
    rows = (row for batch in _parquet_batches(file) for row in batch.column("text"))
    for number, text in enumerate(rows, start=1):
        yield f"{name}:{number}", _string(text.as_py(), f"{file}, row {number}")


def _parquet_batches(file: Path) -> Iterator[Any]:
    """Yield batches of `_PARQUET_ROWS` rows, so that a file of any size fits in memory."""
    try:
        from pyarrow import ArrowException, parquet  # an optional extra, since it is large
    except ImportError as error:
        raise InputError(
            f"corpus.source: {file} needs the package pyarrow: pip install 'neurogloss[parquet]'"
        ) from error
    try:
        with parquet.ParquetFile(file) as opened:
            if "text" not in opened.schema_arrow.names:
                raise InputError(f'{file}: expected a column "text"')
            yield from opened.iter_batches(batch_size=_PARQUET_ROWS, columns=["text"])
    except (ArrowException, OSError) as error:
        raise InputError(f"{file} cannot be read as parquet: {error}") from error


_PARQUET_ROWS = 256
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
    try:
        rows = load_dataset(source, split="train", streaming=True)
    except Exception as error:  # errors of the hub, the network and the name have no common class
        raise InputError(f"corpus.source = {source!r} cannot be loaded: {error}") from error
    for number, row in enumerate(rows):
        yield f"{source}:{number}", row["text"]
