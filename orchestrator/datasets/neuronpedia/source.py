"""The metadata that Neuronpedia needs before the neurons: release, model, source set, source."""

import re
from typing import Any

from orchestrator.datasets.exported import ExportedRun

Line = dict[str, Any]

BOT = "clkht01d40000jv08hvalcvly"  # id of the user that Neuronpedia's seed creates for imports


def model_id(run: ExportedRun) -> str:
    """Return Neuronpedia's id of the subject model, which calls `gpt2` gpt2-small."""
    name = run.config.subject.model.rstrip("/").rsplit("/", 1)[-1]
    return {"gpt2": "gpt2-small"}.get(name, _slug(name))


def set_name(run: ExportedRun) -> str:
    """Return the name of the run's source set."""
    return f"mlp-{_slug(run.row.name)}"


def source_id(run: ExportedRun, layer: int) -> str:
    """Return the source id of a layer: its number, then the name of the source set."""
    return f"{layer}-{set_name(run)}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "model"


def metadata(run: ExportedRun, layer: int) -> dict[str, Line]:
    """Return release, model, source set and source, in the order of their foreign keys."""
    config, release = run.config, f"neurogloss-{set_name(run)}"
    model, source_set = model_id(run), set_name(run)
    made = run.row.created_at.isoformat()
    about = f"Neurons of {model}, explained by {config.explainer.model} with neurogloss"
    owned = {"creatorId": BOT, "createdAt": made, "visibility": "PUBLIC"}
    return {
        "release": {
            "name": release,
            "description": about,
            "descriptionShort": about[:60],
            "urls": [],
            "creatorName": "neurogloss",
            "creatorNameShort": "neurogloss",
            "creatorEmail": None,
            "isNewUi": True,
            "featured": False,
            "defaultSourceSetName": source_set,
            "defaultSourceId": source_id(run, layer),
            "defaultUmapSourceIds": [],
            **owned,
        },
        "model": {
            "id": model,
            "displayName": model,
            "displayNameShort": model,
            "tlensId": None,
            "dimension": None,
            "layers": run.row.n_layers,
            "neuronsPerLayer": run.row.neurons_per_layer,
            "inferenceEnabled": False,
            "instruct": False,
            "owner": "unknown",
            "website": None,
            **owned,
        },
        "sourceset": {
            "modelId": model,
            "name": source_set,
            "hasDashboards": True,
            "description": about[:128],
            "type": "mlp",
            "creatorName": "neurogloss",
            "urls": [],
            "creatorEmail": None,
            "releaseName": release,
            "defaultOfModelId": None,
            "defaultRange": 1,
            "defaultShowBreaks": True,
            "showDfa": False,
            "showCorrelated": False,
            "showHeadAttribution": False,
            "showUmap": False,
            **owned,
        },
        "source": {
            "id": source_id(run, layer),
            "modelId": model,
            "setName": source_set,
            "hasDashboards": True,
            "inferenceEnabled": False,
            "saelensRelease": None,
            "saelensSaeId": None,
            "hfRepoId": None,
            "hfFolderId": None,
            "defaultOfModelId": None,
            "hasUmap": False,
            "hasUmapLogSparsity": False,
            "hasUmapClusters": False,
            "num_prompts": config.corpus.excerpts,
            "num_tokens_in_prompt": config.corpus.excerpt_tokens,
            "dataset": config.corpus.source,
            "notes": "Neurons after GELU are seldom at rest: frac_nonzero counts activations above "
            "0 in the random records, and the histogram is of those.",
            **owned,
        },
    }
