"""What a made-up run is made of: a corpus, templates of neurons with true scores, explanations."""

import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.codec import DISTRIBUTION, FLOAT16, FLOAT32, INT32
from neurogloss.neurons.distributions import pack_distributions
from neurogloss.neurons.scoring import score_neuron, unscored
from neurogloss.neurons.splits import Split, split_places

TOKENS, TOP, RANDOM, PER_BUCKET, SCORED = 64, 20, 20, 5, 5
N_RECORDS = TOP + RANDOM + 5 * PER_BUCKET
LISTED = 120  # tokens in a lookup table
BASELINES = ("lookup", "token_list", "weights")
_SCORED, _N_TOP = split_places(
    list(range(TOP)), list(range(TOP, TOP + RANDOM)), Split.VALID, SCORED, SCORED
)

# Columns of what is copied into temporary tables, from which neurons are made.
TEMPLATES = (
    ("template", "int"), ("excerpts", "int[]"), ("activations", "bytea"),
    ("quantile_boundaries", "real[]"), ("max_activation", "float8"), ("mean", "float8"),
    ("variance", "float8"), ("skewness", "float8"), ("kurtosis", "float8"), ("reason", "text"),
    ("score", "float8"), ("score_top", "float8"), ("score_random", "float8"),
    ("rsquared", "float8"), ("absolute_dev_explained", "float8"), ("undefined_reason", "text"),
    ("tokens", "bytea"), ("means", "bytea"), ("counts", "bytea"), ("top_tokens", "int[]"),
    ("near", "int[]"), ("weights", "real[]"), ("bucket_records", "smallint[]"),
    ("buckets", "smallint[]"),
)  # fmt: skip
SIMULATIONS = (
    ("template", "int"), ("excerpt", "int"), ("expected_activations", "bytea"),
    ("distribution", "bytea"), ("covered", "real"), ("answer", "text"), ("places", "bytea"),
)  # fmt: skip
PREDICTIONS = (
    ("template", "int"), ("baseline", "text"), ("score", "float8"), ("score_top", "float8"),
    ("score_random", "float8"), ("rsquared", "float8"), ("absolute_dev_explained", "float8"),
    ("undefined_reason", "text"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Templates:
    """Rows for the columns of TEMPLATES, SIMULATIONS and PREDICTIONS."""

    neurons: list[tuple[Any, ...]]
    simulations: list[tuple[Any, ...]]
    predictions: list[tuple[Any, ...]]


def make_templates(n: int, n_excerpts: int, n_vocabulary: int, seed: int) -> Templates:
    """Return so many neurons, whose scores are those of their records and simulations."""
    random = np.random.default_rng(seed)
    templates = Templates([], [], [])
    for template in range(n):
        _add(templates, template, n_excerpts, n_vocabulary, random)
    return templates


def _add(
    templates: Templates, template: int, n_excerpts: int, n_vocabulary: int, random: Any
) -> None:
    is_dead = template % 59 == 58
    true = _activations(random, is_dead=is_dead)
    excerpts = random.choice(n_excerpts, N_RECORDS, replace=False).tolist()
    scored = [true[place] for place in _SCORED]
    quality = random.beta(1.2, 3.0)  # how much of the truth a simulation has
    simulated = [_simulation(record, quality, random) for record in scored]
    reason = "dead" if is_dead else None
    found = unscored("dead") if is_dead else score_neuron(scored, simulated, _N_TOP)
    tokens = np.sort(random.choice(n_vocabulary, LISTED, replace=False)).astype(np.int32)
    means = random.gamma(0.5, 0.6, LISTED).astype(np.float32)
    counts = random.integers(1, 400, LISTED).astype(np.int32)
    templates.neurons.append(
        (
            template, excerpts, FLOAT16.pack(true), *_statistics(true), reason, *astuple(found),
            INT32.pack(tokens), FLOAT32.pack(means), INT32.pack(counts),
            tokens[np.argsort(-means)[:50]].tolist(), *_connections(random), *_buckets(true),
        )
    )  # fmt: skip
    if is_dead:
        return
    for place, expected in zip(_SCORED, simulated, strict=True):
        templates.simulations.append((template, excerpts[place], *_stored(expected, random)))
    for baseline, share in zip(BASELINES, (0.6, 0.45, 0.1), strict=True):
        predicted = [_simulation(record, share * random.random(), random) for record in scored]
        row = astuple(score_neuron(scored, predicted, _N_TOP))
        templates.predictions.append((template, baseline, *row))


def _activations(random: Any, *, is_dead: bool) -> NDArray[np.float16]:
    """Return activations like those after a GELU, float16 (n_records, n_tokens), best first."""
    resting = -0.17 * random.random((N_RECORDS, TOKENS))
    spikes = random.gamma(1.5, 1.2, (N_RECORDS, TOKENS)) * (random.random(resting.shape) < 0.05)
    values = resting if is_dead else np.where(spikes > 0, spikes, resting)
    values = values.astype(np.float16)
    order = np.argsort(-values.max(axis=1), kind="stable")
    return values[[*order[:TOP], *random.permutation(order[TOP:])]]


def _boundaries(true: NDArray[np.float16]) -> NDArray[np.float32]:
    """Return quantile boundaries, as if the records were the corpus, float32 (4,)."""
    maxima = true.max(axis=1).astype(np.float32)
    return np.quantile(maxima, (0.5, 0.9, 0.99, 0.999)).astype(np.float32)


def _buckets(true: NDArray[np.float16]) -> tuple[list[int], list[int]]:
    """Return the places of the bucket records, and the bucket of each, in the order of buckets."""
    maxima = true[TOP + RANDOM :].max(axis=1).astype(np.float32)
    buckets = (maxima[:, None] >= _boundaries(true)).sum(axis=1)
    order = np.argsort(buckets, kind="stable")
    return (order + TOP + RANDOM).tolist(), buckets[order].tolist()


def _statistics(true: NDArray[np.float16]) -> tuple[list[float], float, float, float, float, float]:
    """Return quantile boundaries, maximum and moments, as if the records were the corpus."""
    flat = true.astype(np.float64).ravel()
    centred = flat - flat.mean()
    variance = float((centred**2).mean())
    skewness = float((centred**3).mean() / variance**1.5)
    kurtosis = float((centred**4).mean() / variance**2)
    boundaries = _boundaries(true).tolist()
    return boundaries, float(true.max()), float(flat.mean()), variance, skewness, kurtosis


def _simulation(record: NDArray[np.float16], quality: float, random: Any) -> NDArray[np.float16]:
    """Return what a simulator expects of a record, from 0 to 10, float16 (n_tokens,)."""
    truth = np.clip(record.astype(np.float64) / max(1.0, float(record.max())) * 10, 0, 10)
    guess = random.gamma(0.4, 2.5, TOKENS) * (random.random(TOKENS) < 0.3)
    mixed: NDArray[np.float16] = np.clip(quality * truth + (1 - quality) * guess, 0, 10)
    return mixed.astype(np.float16)


def _stored(expected: NDArray[np.float16], random: Any) -> tuple[bytes, bytes, float, str, bytes]:
    """Return a simulation's activations, distribution, coverage, answer and kept places."""
    numbers = np.arange(11)
    weights = np.exp(-((numbers - expected.astype(np.float64)[:, None]) ** 2) / 2)
    weights /= weights.sum(axis=1, keepdims=True)
    answer = {str(place): round(float(value)) for place, value in enumerate(expected)}
    places = (
        (7 * place, dict(zip(numbers.tolist(), row.tolist(), strict=True)))
        for place, row in enumerate(weights)
    )
    return (
        FLOAT16.pack(expected),
        DISTRIBUTION.pack(weights.astype(np.float16)),
        float(random.uniform(0.97, 1.0)),
        json.dumps(answer, separators=(",", ":")),
        pack_distributions(places),
    )


def _connections(random: Any) -> tuple[list[int], list[float]]:
    """Return 20 numbers of neurons or tokens, and their weights from the highest down."""
    weights = np.sort(random.standard_normal(20))[::-1].astype(np.float32).tolist()
    return random.integers(0, 1 << 30, 20).tolist(), weights


_SYLLABLES = (
    "ka", "lo", "mi", "ren", "ta", "shu", "vel", "or", "an", "dis", "ter", "po", "ga", "ni", "us",
    "em", "ble", "ra", "cor", "in", "est", "qua",
)  # fmt: skip


def vocabulary(n: int) -> list[str]:
    """Return so many different tokens, most of which begin with a space."""
    base = len(_SYLLABLES)

    def word(number: int) -> str:
        syllables = _SYLLABLES[number % base]
        while number := number // base:
            syllables += _SYLLABLES[number % base]
        return syllables

    punctuation = [".", ",", " the", " of", "\n", " and", "'s", " -", " (", ")"]
    words = (f" {word(number)}" for number in range(n))
    return [*punctuation, *words][:n]


def excerpts(n: int, n_vocabulary: int, seed: int) -> Iterator[tuple[str, int, bytes]]:
    """Yield (document, position, tokens) of so many excerpts; common tokens are common."""
    random = np.random.default_rng([seed, 1])
    drawn = np.minimum(random.zipf(1.3, (n, TOKENS)) - 1, n_vocabulary - 1).astype(np.int32)
    for number, tokens in enumerate(drawn):
        yield f"document {number // 20}", number % 20 * TOKENS, INT32.pack(tokens)


_KINDS = (
    "words and phrases", "names", "punctuation", "the word 'the'", "numbers", "verbs in the past",
    "prepositions", "abbreviations", "the last token of a phrase", "suffixes such as '-ing'",
    "mentions", "adjectives", "opening brackets and quotes", "units of measurement",
)  # fmt: skip
_SUBJECTS = (
    "related to Vienna", "of rivers and lakes", "about court cases", "of chemical compounds",
    "related to music and orchestras", "in computer programs", "about football", "of the months",
    "related to faith and church", "about cooking", "of people in politics", "related to ships",
    "that express doubt", "about stock markets", "of colours", "related to law enforcement",
    "about family and marriage", "of places in Asia", "in headlines", "related to medicine",
)  # fmt: skip
_ENDS = (
    "", " and their plurals", ", mostly at the start of a sentence", ", often after a comma",
    " in a list of similar words", ", particularly in a formal context", " or words like them",
    ", especially before a number", " and comparisons with what was before",
)  # fmt: skip


def explanations(n: int, words: list[str], seed: int) -> Iterator[str]:
    """Yield so many explanations; every third has rare words of the vocabulary in it as well."""
    random = np.random.default_rng([seed, 2])
    choices = [random.integers(0, len(part), n) for part in (_KINDS, _SUBJECTS, _ENDS)]
    rare = random.integers(10, len(words), (n, 2)).tolist()
    for number, (kind, subject, end) in enumerate(zip(*(c.tolist() for c in choices), strict=True)):
        text = f" {_KINDS[kind]} {_SUBJECTS[subject]}{_ENDS[end]}"
        if number % 3 == 0:
            text += ", such as" + " or".join(words[token] for token in rare[number])
        yield text + "."
