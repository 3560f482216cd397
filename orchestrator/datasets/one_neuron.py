"""One neuron in the formats of exports, as a JSON object of what a whole export has of it."""

from typing import Any

import orjson
from sqlalchemy import Connection

from db.neuron import load_neuron
from orchestrator.datasets.exported import ExcerptTexts, ExportedNeuron, ExportedRun
from orchestrator.datasets.neuronpedia.lines import lines_of
from orchestrator.datasets.openai.writer import files_of, tokens_json


def neuron_as(
    connection: Connection, run_id: int, layer: int, neuron: int, format_name: str
) -> bytes | None:
    """Return a neuron as JSON: `openai` by the path of each file, `neuronpedia` by its kind.

    None where it has no records, so that an export would leave it out.
    """
    run = ExportedRun.load(connection, run_id)
    stored = load_neuron(connection, run_id, layer, neuron)
    if stored.records is None:
        return None
    exported = ExportedNeuron(run, stored, stored.records)
    found: dict[str, Any]
    if format_name == "openai":
        excerpts = ExcerptTexts(connection, run, tokens_json, nul="\0")
        found = {path.format(layer, neuron): value for path, value in files_of(exported, excerpts)}
    else:
        lines = lines_of(exported, ExcerptTexts(connection, run, tokens_json))
        found = {kind: list(of_kind) for kind, of_kind in lines.items()}
    return orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY)
