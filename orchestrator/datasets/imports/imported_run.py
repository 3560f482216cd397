"""The configuration of an imported run and the origin of its dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from neurogloss.config.run import MAX_EXCERPT_TOKENS, MIN_EXCERPT_TOKENS, RunConfig
from neurogloss.errors import InputError
from neurogloss.neurons.splits import RANDOM_SPLITS, TOP_SPLITS
from orchestrator.datasets import description
from orchestrator.datasets.imports.source import Source
from orchestrator.datasets.json_reader import Checked, parse
from orchestrator.datasets.openai.reader import MAX_LAYER, MAX_NEURON, PublishedNeuron

SHAPES = {"gpt2-xl": (48, 6400), "gpt2": (12, 3072)}  # the two sets that OpenAI published
CONFIGURED = ("subject", "corpus", "records", "neurons", "explainer", "simulator", "scoring")
PUBLISHED_EXCERPTS = 50_000  # from which OpenAI's records were chosen
# The address of every endpoint of an imported run: datasets do not have the real one, and
# `.invalid` never resolves (RFC 2606).
NOWHERE = "https://unknown.invalid/v1"


@dataclass(frozen=True, slots=True)
class Origin:
    """The properties of a dataset that are known before its neurons are read.

    `shape` is (layers, neurons per layer), None if unknown; `configuration` comes from
    `dataset.json`, None for OpenAI's datasets, which have no such file.
    """

    shape: tuple[int, int] | None
    activation_function: str
    configuration: Mapping[str, Any] | None


def find_origin(source: Source, subject: str | None) -> Origin:
    """Read `dataset.json`; a dataset without it is taken for OpenAI's, with `subject` as its model.

    Raises:
        InputError: The file is wrong, or it is missing and `subject` is None.
    """
    content = source.read(description.FILE)
    if content is not None:
        return _described(parse(content, f"{source.name}/{description.FILE}"))
    if subject is None:
        raise InputError(
            f"{source.name} has no {description.FILE}: name the subject model with --subject, "
            f"e.g. {' or '.join(SHAPES)}"
        )
    return Origin(SHAPES.get(subject), description.OPTIMIZED_GELU, None)


def _described(top: Checked) -> Origin:
    version = top.field("version").integer(0, 2**31)
    if version != description.VERSION:
        raise InputError(
            f"{top.file}: version {version} is not supported, only version {description.VERSION}"
        )
    configuration = top.field("configuration")
    if not isinstance(configuration.value, dict):
        raise configuration.wrong("an object")
    n_layers = top.field("n_layers").integer(1, MAX_LAYER + 1)
    per_layer = top.field("neurons_per_layer").integer(1, MAX_NEURON)
    function = top.field("activation_function").text()
    return Origin((n_layers, per_layer), function, configuration.value)


def configuration(
    origin: Origin,
    name: str,
    subject: str | None,
    source: Source,
    first: PublishedNeuron,
    where: str,
) -> RunConfig:
    """Return the configuration of the run.

    Raises:
        InputError: The configuration in `dataset.json` or the name of the run is not valid.
    """
    values = origin.configuration
    if values is None:
        values = _published(str(subject), source.name, first)
    chosen = {key: values[key] for key in CONFIGURED if key in values}
    roles: Sequence[Any] = (chosen.get("explainer"), chosen.get("simulator"))
    named = [str(r["endpoint"]) for r in roles if isinstance(r, dict) and "endpoint" in r]
    endpoints = {endpoint: {"base_url": NOWHERE} for endpoint in (*named, "openai")}
    try:
        return RunConfig.model_validate({"name": name, **chosen, "endpoints": endpoints})
    except ValidationError as error:
        first_error = error.errors()[0]
        key = ".".join(map(str, first_error["loc"]))
        if key == "name":
            raise InputError(f"--name {name!r}: {first_error['msg']}") from error
        raise InputError(f"{where}: configuration.{key}: {first_error['msg']}") from error


def _longest(first: PublishedNeuron) -> int:
    """Return the length of the longest record of a neuron, within what a run can be asked for.

    A document that is shorter is a record of its own in OpenAI's files.
    """
    lengths = [len(record.tokens) for record in (*first.top, *first.random)]
    return min(MAX_EXCERPT_TOKENS, max(MIN_EXCERPT_TOKENS, *lengths))


def _published(subject: str, source: str, first: PublishedNeuron) -> dict[str, Any]:
    """Return the configuration of OpenAI's datasets, as far as the paper and the files tell."""
    top, random = len(first.top), len(first.random)
    scoring = {
        "top": max(1, min(5, top // len(TOP_SPLITS))),
        "random": max(1, min(5, random // len(RANDOM_SPLITS))),
    }
    # A configuration has to keep enough records for all splits, even if the files hold fewer.
    kept = {
        "top": max(top, scoring["top"] * len(TOP_SPLITS)),
        "random": max(random, scoring["random"] * len(RANDOM_SPLITS)),
        "per_quantile": max(map(len, first.buckets), default=0),
    }
    return {
        "subject": {"model": subject},
        "corpus": {
            "source": source,
            "excerpts": PUBLISHED_EXCERPTS,
            "excerpt_tokens": _longest(first),
        },
        "records": kept,
        "scoring": scoring,
        "explainer": {"kind": "llm", "endpoint": "openai", "model": "gpt-4"},
        "simulator": {"kind": "echo_logprobs", "endpoint": "openai", "model": "gpt-4"},
    }
