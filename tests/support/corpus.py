"""A small corpus for tests whose point it is not: `python-docs` takes seconds to read and cut."""

import atexit
import shutil
import tempfile
from functools import cache
from itertools import islice
from pathlib import Path

from orchestrator.corpus import python_docs

DOCUMENTS = 60  # all of them language topics, for which no source file is parsed


@cache
def small_corpus() -> str:
    """Return a folder with some of Python's documentation, which is there as long as the process.

    It holds more than 300 excerpts of 64 tokens of the demo subject.
    """
    folder = Path(tempfile.mkdtemp(prefix="neurogloss-corpus-"))
    atexit.register(shutil.rmtree, folder)
    for number, (_, words) in enumerate(islice(python_docs.documents(), DOCUMENTS)):
        (folder / f"{number:02d}.txt").write_text(words, encoding="utf-8")
    return str(folder)
