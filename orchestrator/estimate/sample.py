"""A sample of neurons whose prompts are counted: neurons of the run, or made-up ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from sqlalchemy import Connection

from db import corpora, runs
from db.codec import INT32
from db.neuron import NeuronPart, StoredNeuron, load_neurons
from db.records import NeuronRecordsRow
from db.runs import StoredRun
from neurogloss.config.run import CorpusConfig, RunConfig, SubjectConfig
from neurogloss.errors import InputError
from neurogloss.neurons.records import ActivationRecord
from neurogloss.neurons.splits import Split, random_slice, top_slice
from neurogloss.subject.files import is_at_hand
from neurogloss.subject.shape import read_shape
from neurogloss.subject.tokenizer import FILE as TOKENIZER_FILE
from neurogloss.subject.tokenizer import begin_of_text, token_texts, tokenizer_for
from orchestrator.corpus.cut import cut_excerpts
from orchestrator.corpus.sources import documents, is_on_hub

NEURONS = 12  # whose prompts are counted: enough for a mean within a few percent
_DOCUMENTS = 2000  # documents of the corpus that are read for made-up neurons
_ACTIVE_SHARE = 0.12  # share of active tokens in a top record, as measured on neurons of GPT-2
_EXPLANATION = "names of places and organisations, mostly at the beginning of a sentence"


@dataclass(frozen=True, slots=True)
class SampleNeuron:
    """The records shown to the explainer, the tokens of the scored records, an explanation."""

    shown: list[ActivationRecord]
    scored: list[list[str]]
    explanation: str


@dataclass(frozen=True, slots=True)
class Sample:
    """Sample neurons; `source` says where they come from."""

    source: str
    neurons: list[SampleNeuron]


def sample_of_run(connection: Connection, run: StoredRun, config: RunConfig) -> Sample | None:
    """Return a sample of the neurons of a run; None if the run has no records yet."""
    corpus = corpora.get(connection, run.corpus_id)
    texts = corpora.token_texts(connection, corpus.vocabulary_id)
    sampled: list[SampleNeuron] = []
    for layer in runs.layers_of(connection, run.id):
        # Of two layers at least, whose records differ.
        neurons = runs.neurons_in(connection, run.id, layer)[: NEURONS // 2]
        if len(sampled) < NEURONS:
            parts = (NeuronPart.RECORDS, NeuronPart.EXPLANATION)
            sampled += [
                _neuron_of(connection, corpus.id, config, stored.records, stored, texts)
                for stored in load_neurons(connection, run.id, layer, neurons, parts)
                if stored.records is not None and stored.records.undefined_reason is None
            ]
    return Sample(f"records of run {run.name}", sampled[:NEURONS]) if sampled else None


def _neuron_of(
    connection: Connection,
    corpus_id: int,
    config: RunConfig,
    records: NeuronRecordsRow,
    stored: StoredNeuron,
    texts: list[str],
) -> SampleNeuron:
    excerpts = corpora.excerpts_named(connection, corpus_id, records.excerpts)
    tokens = [[texts[token] for token in excerpts[e].tolist()] for e in records.excerpts]
    activations = [on_record.tolist() for on_record in records.on_all()]
    shown = records.top_records[top_slice(Split.TRAIN, config.scoring.top)]
    scored = [
        *records.top_records[top_slice(Split.VALID, config.scoring.top)],
        *records.random_records[random_slice(Split.VALID, config.scoring.random)],
    ]
    return SampleNeuron(
        [ActivationRecord(tuple(tokens[p]), tuple(activations[p])) for p in shown],
        [tokens[place] for place in dict.fromkeys(scored)],
        stored.explanation.text if stored.explanation else _EXPLANATION,
    )


def sample_without_run(config: RunConfig, vocab_size: int) -> Sample:
    """Return made-up neurons on the run's corpus, or on other texts where it cannot be read here.

    Tokenizer and corpus may be on the hub, which may be out of reach, or need a package that is not
    installed. The length of an excerpt is that of the configuration in any case.

    Raises:
        InputError: A corpus on this machine cannot be read, or is too small for one neuron.
    """
    if not is_at_hand(config.located(config.subject.model), TOKENIZER_FILE):
        return _sample_of_other_texts(config, f"{config.subject.model} is not on this machine")
    if not is_on_hub(config.located(config.corpus.source)):
        return sample_of_corpus(config, vocab_size)
    try:
        return sample_of_corpus(config, vocab_size)
    except InputError as error:
        return _sample_of_other_texts(config, str(error))


def _sample_of_other_texts(config: RunConfig, reason: str) -> Sample:
    """Return made-up neurons on texts, and with a tokenizer, that are always there."""
    corpus = CorpusConfig(
        excerpts=config.corpus.excerpts, excerpt_tokens=config.corpus.excerpt_tokens
    )
    parts = {"subject": SubjectConfig(), "corpus": corpus}
    sample = sample_of_corpus(config.model_copy(update=parts), read_shape("demo").vocab_size)
    return Sample(f"Python's documentation, because {reason}", sample.neurons)


def sample_of_corpus(config: RunConfig, vocab_size: int) -> Sample:
    """Return made-up neurons: excerpts of the corpus with random activations.

    Raises:
        InputError: The corpus cannot be read, or is too small for one neuron.
    """
    tokenizer = tokenizer_for(config.located(config.subject.model), vocab_size)
    n_shown, n_scored = config.scoring.top, config.scoring.top + config.scoring.random
    cut = cut_excerpts(
        islice(documents(config.located(config.corpus.source), _DOCUMENTS), _DOCUMENTS),
        tokenizer,
        n_excerpts=min(config.corpus.excerpts, NEURONS * (n_shown + n_scored)),
        n_tokens=config.corpus.excerpt_tokens,
        seed=config.corpus.seed,
        keep_short=config.corpus.short == "keep",
        begin=begin_of_text(tokenizer) if config.corpus.begin_of_text else None,
    )
    texts = token_texts(tokenizer, vocab_size)
    excerpts = [[texts[token] for token in INT32.unpack(e.tokens).tolist()] for e in cut.excerpts]
    neurons = list(_made_up(excerpts, n_shown, n_scored, config.corpus.seed))
    return Sample(f"excerpts of {config.corpus.source} with made-up activations", neurons)


def _made_up(
    excerpts: list[list[str]], n_shown: int, n_scored: int, seed: int
) -> Iterator[SampleNeuron]:
    random = np.random.default_rng(seed)
    for first in range(0, len(excerpts) - n_shown - n_scored + 1, n_shown + n_scored):
        shown = excerpts[first : first + n_shown]
        scored = excerpts[first + n_shown : first + n_shown + n_scored]
        yield SampleNeuron(
            [ActivationRecord(tuple(t), tuple(_activations(random, len(t)))) for t in shown],
            scored,
            _EXPLANATION,
        )


def _activations(random: np.random.Generator, n_tokens: int) -> list[float]:
    active = random.random(n_tokens) < _ACTIVE_SHARE
    values = np.where(active, random.exponential(1.0, n_tokens), 0.0)
    values[random.integers(n_tokens)] = values.max() + 1.0
    activations: list[float] = values.tolist()
    return activations
