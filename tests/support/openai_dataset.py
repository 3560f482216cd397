"""Writing, reading and looking at datasets in OpenAI's format, for tests."""

from sqlalchemy import text

from db import runs
from orchestrator.datasets.export import export
from orchestrator.datasets.imports.importer import ImportSelection, import_dataset
from orchestrator.datasets.imports.source import FolderSource
from orchestrator.verify.verify import find_differences


def files_of(root):
    """Return the content of each file of a dataset, by path."""
    paths = (path for path in root.rglob("*") if path.is_file())
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
    return {path: content for path, content in found.items() if not path.startswith(".export/")}


def export_openai(engine, run_id, root):
    export(engine, run_id, "openai", root, processes=2)
    return files_of(root)


def import_folder(engine, root, name="imported", **wanted):
    import_dataset(engine, FolderSource(root), ImportSelection(name, **wanted), concurrency=2)
    with engine.begin() as connection:
        return runs.find(connection, name).id


def in_views(engine, name):
    with engine.begin() as connection:
        return [
            connection.scalar(
                text(f"SELECT count(*) FROM {view} WHERE run = :run"),  # noqa: S608
                {"run": name},
            )
            for view in ("run_progress", "layer_progress", "neuron_summary", "run_cost")
        ]


def differences(engine, name):
    with engine.begin() as connection:
        run = runs.find(connection, name)
    return list(find_differences(engine, run.id, lambda *_: None))
