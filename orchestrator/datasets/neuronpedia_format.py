"""A run as Neuronpedia's bulk import reads it, with scores and simulations beside it.

Its importer takes the columns from the first line of a file, so every line has every key; it fails
a whole file for a reference that is not there, so what is not known to be there is null. `scoreV1`
cannot be null, so that an undefined score could only be a false zero there: scores are in
`scoreV2`, and in `explanation-scores/` and `explanation-activations/`, which our loader reads.
"""

import gzip
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection

from orchestrator.datasets import description
from orchestrator.datasets.files import Folder
from orchestrator.datasets.openai_format import tokens_json
from orchestrator.datasets.stored import ExcerptTexts, StoredNeuron, StoredRun, stored_neurons
from worker.neurons.scoring import score_neurons
from worker.neurons.selection import QUANTILES

Line = dict[str, Any]
Lines = dict[str, Iterator[Line]]

BATCH = 1024  # neurons of a file, as in Neuronpedia's own data sets
KINDS = ("features", "activations", "explanations", "explanation-scores", "explanation-activations")
BOT = "clkht01d40000jv08hvalcvly"  # the user that Neuronpedia's seed makes for imports
SCORE_TYPE = "neurogloss_simulation"
EXPLANATION_TYPE = "oai_token-act-pair"
_COMPRESSION = 5
_LOGIT_TOKENS = 10
_BARS = 50
_ALL = -1  # what Neuronpedia takes for the bin of top activations

_CONTAINS = np.diff([0.0, *QUANTILES, 1.0]).tolist()
_EMPTY = (
    *(f"neuron_alignment_{part}" for part in ("indices", "values", "l1")),
    *(
        f"correlated_{of}_{p}"
        for of in ("neurons", "features")
        for p in ("indices", "pearson", "l1")
    ),
    "logits_hist_data_bar_heights",
    "logits_hist_data_bar_values",
    "decoder_weights_dist",
    "topkCosSimIndices",
    "topkCosSimValues",
    "vector",
)


def write_layer(
    connection: Connection, run: StoredRun, layer: int, folder: Folder, on_neuron: Callable[[], Any]
) -> None:
    """Write the metadata and the batches of a layer."""
    place = _folder_of(run, layer)
    for name, value in metadata(run, layer).items():
        folder.write(f"{place}/{name}.jsonl", _json(value))
    excerpts = ExcerptTexts(connection, run, tokens_json)
    with ExitStack() as files:
        for number, neuron in enumerate(stored_neurons(connection, run, layer)):
            if number % BATCH == 0:
                files.close()
                path = f"{place}/{{}}/batch-{number // BATCH}.jsonl.gz"
                writers = {k: files.enter_context(_gzipped(folder, path.format(k))) for k in KINDS}
            for kind, lines in _lines_of(neuron, excerpts).items():
                for line in lines:
                    writers[kind].write(_json(line))
            on_neuron()


def _json(line: Line) -> bytes:
    return orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


@contextmanager
def _gzipped(folder: Folder, path: str) -> Iterator[Any]:
    with (
        folder.new_file(path) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as stream,
    ):
        yield stream


def write_whole(connection: Connection, run: StoredRun, folder: Folder) -> None:
    """Write the description."""
    folder.write(description.FILE, description.description_json(run))


def model_id(run: StoredRun) -> str:
    """Return the id of the subject model; `gpt2` is called gpt2-small there."""
    name = run.config.subject.model.rstrip("/").rsplit("/", 1)[-1]
    return {"gpt2": "gpt2-small"}.get(name, _slug(name))


def set_name(run: StoredRun) -> str:
    """Return the name of the run's source set."""
    return f"mlp-{_slug(run.row['name'])}"


def source_id(run: StoredRun, layer: int) -> str:
    """Return the id of a layer: it begins with the number and is no bare number."""
    return f"{layer}-{set_name(run)}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "model"


def _folder_of(run: StoredRun, layer: int) -> str:
    return f"v1/{model_id(run)}/{source_id(run, layer)}"


def metadata(run: StoredRun, layer: int) -> dict[str, Line]:
    """Return release, model, source set and source, in the order in which they are imported."""
    config, release = run.config, f"neurogloss-{set_name(run)}"
    model, source_set = model_id(run), set_name(run)
    made = run.row["created_at"].isoformat()
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
            "layers": run.row["n_layers"],
            "neuronsPerLayer": run.row["neurons_per_layer"],
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


def _lines_of(neuron: StoredNeuron, excerpts: ExcerptTexts[orjson.Fragment]) -> Lines:
    run = neuron.run
    key = {
        "modelId": model_id(run),
        "layer": source_id(run, neuron.layer),
        "index": str(neuron.neuron),
    }
    return {
        "features": iter([{**key, **_feature(neuron, excerpts.texts)}]),
        "activations": _activations(neuron, key, excerpts),
        "explanations": _explanation(neuron, key),
        "explanation-scores": _score(neuron),
        "explanation-activations": _simulations(neuron),
    }


def _id(neuron: StoredNeuron, *parts: object) -> str:
    """Return an id that is the same in every export of the run."""
    named = (neuron.run.row["name"], neuron.run.row["config_hash"], neuron.layer, neuron.neuron)
    text = orjson.dumps([*named, *map(str, parts)])
    return "c" + hashlib.blake2b(text, digest_size=12).hexdigest()


def _feature(neuron: StoredNeuron, texts: list[str]) -> Line:
    row = neuron.records
    drawn = neuron.activations[row["random_records"]].astype(np.float64).ravel()
    positive = drawn[np.isfinite(drawn) & (drawn > 0)]
    heights, edges = np.histogram(positive, bins=_BARS if len(positive) else 1)
    above, below = _output_tokens(neuron, texts)
    return {
        "sourceSetName": set_name(neuron.run),
        "creatorId": BOT,
        "maxActApprox": row["max_activation"],
        "frac_nonzero": len(positive) / len(drawn) if len(drawn) else 0.0,
        "pos_str": [token for token, _ in above],
        "pos_values": [weight for _, weight in above],
        "neg_str": [token for token, _ in below],
        "neg_values": [weight for _, weight in below],
        "freq_hist_data_bar_heights": heights.astype(np.float64),
        "freq_hist_data_bar_values": np.ascontiguousarray(edges[:-1]),
        **{name: [] for name in _EMPTY},
        "hasVector": False,
        "vectorLabel": None,
        "vectorDefaultSteerStrength": None,
        "hookName": f"blocks.{neuron.layer}.mlp.hook_post",
    }


def _output_tokens(
    neuron: StoredNeuron, texts: list[str]
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Return the tokens that the neuron drives most, up and down, with their weights."""
    row = neuron.connections.get(("related_tokens", "output"))
    if row is None:
        return [], []
    named = [(texts[t], w) for t, w in zip(row["tokens"], row["weights"], strict=True)]
    above = [pair for pair in named if pair[1] > 0]
    below = [pair for pair in reversed(named) if pair[1] <= 0]
    return above[:_LOGIT_TOKENS], below[:_LOGIT_TOKENS]


def _bins(neuron: StoredNeuron) -> Mapping[int, tuple[str, float, float, float]]:
    """Return (data source, lowest, highest, share of excerpts) of each record, by place."""
    row = neuron.records
    highest = row["max_activation"]
    edges = [0.0, *row["quantile_boundaries"], highest]
    whole = ("random", 0.0, highest, 1.0)
    found = {place: ("simulated", 0.0, highest, 1.0) for place in range(len(row["excerpts"]))}
    found |= dict.fromkeys(row["random_records"], whole)
    for place, bucket in zip(row["bucket_records"], row["buckets"], strict=True):
        ends = (
            (edges[bucket], edges[bucket + 1]) if len(edges) == len(_CONTAINS) + 1 else whole[1:3]
        )
        found[place] = ("quantile", *ends, _CONTAINS[bucket])
    top = ("top", float(_ALL), float(_ALL), float(_ALL))
    return found | dict.fromkeys(row["top_records"], top)


def _activations(
    neuron: StoredNeuron, key: Line, excerpts: ExcerptTexts[orjson.Fragment]
) -> Iterator[Line]:
    tokens = excerpts.of(neuron.records["excerpts"])
    activations = neuron.activations.astype(np.float32)
    for place, (source, lowest, highest, contains) in _bins(neuron).items():
        values = activations[place]
        if not np.isfinite(values).all():
            continue  # its columns take no null
        at = int(values.argmax())
        yield {
            "id": _id(neuron, "record", place),
            **key,
            "creatorId": BOT,
            "tokens": tokens[place],
            "values": values,
            "maxValue": values[at],
            "maxValueTokenIndex": at,
            "minValue": values.min(),
            "binMin": lowest,
            "binMax": highest,
            "binContains": contains,
            "qualifyingTokenIndex": None,
            "dataSource": source,
            "dataIndex": str(neuron.records["excerpts"][place]),
            "dfaValues": [],
            "dfaTargetIndex": None,
            "dfaMaxValue": None,
            "lossValues": [],
            "logitContributions": None,
        }


def _explanation(neuron: StoredNeuron, key: Line) -> Iterator[Line]:
    if neuron.explanation is None:
        return
    by_calls = "explainer" in neuron.run.config.calling
    yield {
        "id": _id(neuron, "explanation"),
        **key,
        "authorId": BOT,
        "description": neuron.explanation["text"],
        "embedding": None,
        "typeName": EXPLANATION_TYPE if by_calls else None,
        "explanationModelName": None,
        "notes": f"explainer {neuron.explanation['explainer']}, {_defined(neuron)}",
        "scoreV2": None if neuron.score is None else neuron.score["score"],
    }


def _defined(neuron: StoredNeuron) -> str:
    if neuron.score is None:
        return "not scored"
    if neuron.score["score"] is None:
        return f"no score: {neuron.score['undefined_reason']}"
    return f"simulator {neuron.run.config.simulator.kind}"


def _score(neuron: StoredNeuron) -> Iterator[Line]:
    if neuron.explanation is None or neuron.score is None or neuron.score["score"] is None:
        return
    names = ("score_top", "score_random", "rsquared", "absolute_dev_explained")
    yield {
        "id": _id(neuron, "score"),
        "initiatedByUserId": BOT,
        "value": neuron.score["score"],
        "explanationId": _id(neuron, "explanation"),
        "explanationScoreTypeName": SCORE_TYPE,
        "explanationScoreModelName": simulator_name(neuron.run),
        "jsonDetails": orjson.dumps({name: neuron.score[name] for name in names}).decode(),
    }


def simulator_name(run: StoredRun) -> str:
    """Return who simulated: a model, or `lookup`."""
    simulator = run.config.simulator
    return "lookup" if simulator.kind == "lookup" else simulator.model


def _simulations(neuron: StoredNeuron) -> Iterator[Line]:
    """Yield the simulations with a score of their own: that column takes no null."""
    if neuron.explanation is None:
        return
    places = list(dict.fromkeys(neuron.scored()))
    true, expected = neuron.activations[places], neuron.expected(places)
    scores = score_neurons(true[:, None], expected[:, None], n_top=1) if places else []
    for row, place in enumerate(places):
        if scores[row].score is None or not np.isfinite(true[row]).all():
            continue
        yield {
            "id": _id(neuron, "simulation", place),
            "explanationId": _id(neuron, "explanation"),
            "activationId": _id(neuron, "record", place),
            "expectedValues": expected[row],
            "score": scores[row].score,
            "scorerAutoInterpModel": simulator_name(neuron.run),
            "version": 1 if neuron.simulation(place)["distribution"] is not None else 2,
        }
