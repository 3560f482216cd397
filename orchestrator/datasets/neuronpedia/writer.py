"""Write a run as files for Neuronpedia's bulk import, with scores and simulations beside them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import orjson
from isal import igzip
from sqlalchemy import Connection

from orchestrator.datasets.exported import ExcerptTexts, ExportedRun, exported_neurons
from orchestrator.datasets.files import Folder
from orchestrator.datasets.neuronpedia.lines import KINDS, PARTS, lines_of
from orchestrator.datasets.neuronpedia.source import Line, metadata, model_id, source_id
from orchestrator.datasets.openai.writer import tokens_json

BATCH = 1024  # neurons per file, as in Neuronpedia's own datasets
# Of ISA-L's 0 to 3: files as small as those of gzip's level 4, in a fifth of the time.
_COMPRESSION = 3


def write_layer(
    connection: Connection,
    run: ExportedRun,
    layer: int,
    folder: Folder,
    on_neuron: Callable[[], Any],
) -> None:
    """Write the metadata and the batch files of a layer."""
    place = _folder_of(run, layer)
    for name, value in metadata(run, layer).items():
        folder.write(f"{place}/{name}.jsonl", _json(value))
    excerpts = ExcerptTexts(connection, run, tokens_json)
    with ExitStack() as files:
        neurons = exported_neurons(connection, run, layer, excerpts, PARTS)
        for number, neuron in enumerate(neurons):
            if number % BATCH == 0:
                # Completes the files of the last batch; an ExitStack may be used again afterwards.
                files.close()
                path = f"{place}/{{}}/batch-{number // BATCH}.jsonl.gz"
                writers = {k: files.enter_context(_gzipped(folder, path.format(k))) for k in KINDS}
            for kind, lines in lines_of(neuron, excerpts).items():
                writers[kind].write(b"".join(map(_json, lines)))
            on_neuron()


def _json(line: Line) -> bytes:
    return orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


@contextmanager
def _gzipped(folder: Folder, path: str) -> Iterator[Any]:
    with (
        folder.new_file(path) as partial,
        partial.open("wb") as raw,
        # No name and no time in the header: the same run gives the same bytes.
        igzip.IGzipFile("", "wb", _COMPRESSION, raw, mtime=0) as stream,  # type: ignore[no-untyped-call]
    ):
        yield stream


def _folder_of(run: ExportedRun, layer: int) -> str:
    return f"v1/{model_id(run)}/{source_id(run, layer)}"
