"""Answering a text: which components of the model bring about its next token."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from db import texts
from db.session import transaction
from db.text_neurons import TextNeurons, load_text_neurons
from db.text_queue import TextClaim
from db.text_results import TextAblation, TextResult, TokenLogit
from db.texts import MAX_TOKENS, TextRequest
from neurogloss.errors import CannotCollect, InputError, OtherVersion
from neurogloss.neurons.records import IntArray
from neurogloss.subject.effects import NeuronValues, TextPass, TextReader
from neurogloss.subject.tokenizer import begin_of_text, only_token, read_tokenizer
from neurogloss.subject.unembedding import load_unembedding
from worker.run import Run, load_run
from worker.stages.forward_pass import load_once
from worker.stages.text_ranking import TextRanking
from worker.text_queue import TextFailed

_tokenizer = lru_cache(maxsize=1)(read_tokenizer)


def text(engine: Engine, claim: TextClaim) -> TextResult:
    """Return what brings about the next token after a text.

    Raises:
        TextFailed: What was asked cannot be answered, or the model cannot be read.
    """
    with transaction(engine) as connection:
        request = texts.load_request(connection, claim.request_id)
        run = _run(connection, claim)
        neurons = load_text_neurons(connection, run.row)
    try:
        return _Answer(run, request, neurons).result()
    except torch.OutOfMemoryError as error:
        raise TextFailed("memory", "the text does not fit into the GPU's memory") from error
    except (CannotCollect, InputError) as error:  # of the model's files
        raise TextFailed("collect", str(error)) from error


def _run(connection: Connection, claim: TextClaim) -> Run:
    try:
        return load_run(connection, claim.run_id)
    except OtherVersion as error:
        raise TextFailed("collect", str(error)) from error


class _Answer:
    """One text, read by the model of its run."""

    def __init__(self, run: Run, request: TextRequest, neurons: TextNeurons) -> None:
        self._run, self._request, self._neurons = run, request, neurons
        name = run.config.located(run.config.subject.model)
        self._tokenizer = _tokenizer(name)
        # Never less than float32, whatever type the run collected in.
        subject = load_once(name, "float32", "float32")
        self._n_positions = min(MAX_TOKENS, int(subject.config.n_positions))
        self._reader = TextReader(subject, load_unembedding(name, subject))

    def result(self) -> TextResult:
        request = self._request
        tokens = self._tokens()
        self._check_baseline(len(tokens))
        chosen = [
            self._token(name, value)
            for name, value in (("target", request.target), ("versus", request.versus))
        ]
        found = self._reader.read(tokens, *chosen)
        if not _is_finite(found):
            raise TextFailed("nonfinite", "the model's output on this text is not a finite number")
        ranking = TextRanking(found, self._neurons.explained, self._baseline())
        return TextResult(
            tokens=[self._text_of(token) for token in tokens.tolist()],
            position=len(tokens) - 1,
            target=self._logit(found, found.target),
            versus=None if found.versus is None else self._logit(found, found.versus),
            logit_difference=found.logit_difference,
            sums=ranking.sums(),
            components=ranking.components(),
            neurons=ranking.neurons(),
            ablation=self._ablation(tokens, found) if request.ablate else None,
        )

    def _tokens(self) -> IntArray:
        """Return the tokens of the text, int64 (n_tokens,), begun as the run's documents are."""
        ids = self._tokenizer.encode(self._request.text, add_special_tokens=False).ids
        if self._run.config.corpus.begin_of_text:
            ids = [begin_of_text(self._tokenizer), *ids]
        if not ids:
            raise TextFailed("text", "the text has no token that the model knows")
        if len(ids) > self._n_positions:
            message = f"the text has {len(ids):,} tokens, more than {self._n_positions:,}"
            raise TextFailed("text", message)
        return np.array(ids, np.int64)

    def _token(self, name: str, value: str | None) -> int | None:
        try:
            return None if value is None else only_token(self._tokenizer, value)
        except InputError as error:
            raise TextFailed("target", f"{name} {error}") from error

    def _text_of(self, token: int) -> str:
        return self._tokenizer.decode([token], skip_special_tokens=False)

    def _logit(self, found: TextPass, token: int) -> TokenLogit:
        logit, probability = float(found.logits[token]), found.probability(token)
        return TokenLogit(self._text_of(token), token, logit, probability)

    def _baseline(self) -> NDArray[np.float64]:
        means = self._neurons.means
        return np.zeros_like(means) if self._request.baseline == "zero" else means

    def _check_baseline(self, n_tokens: int) -> None:
        baseline, explained = self._baseline(), self._neurons.explained
        if explained.any() and np.isnan(baseline[explained]).all():
            raise TextFailed(
                "baseline",
                f"run {self._run.name!r} has no means of its neurons: ask with the baseline zero",
            )
        for layer, neuron, position in self._request.ablate:
            if np.isnan(baseline[layer, neuron]):
                message = f"neuron {layer}:{neuron} has no mean: ask with the baseline zero"
                raise TextFailed("ablate", message)
            if position is not None and position >= n_tokens:
                message = f"the text has {n_tokens} tokens: there is no position {position}"
                raise TextFailed("ablate", message)

    def _ablation(self, tokens: IntArray, found: TextPass) -> TextAblation:
        layers, neurons, positions = zip(*self._request.ablate, strict=True)
        values = self._baseline()[list(layers), list(neurons)].tolist()
        outputs = self._reader.ablated(
            tokens, found, [NeuronValues(layers, neurons, positions, values)]
        )
        return TextAblation(outputs.logit_differences[0], outputs.probabilities[0])


def _is_finite(found: TextPass) -> bool:
    """Return whether a pass has numbers alone: an infinite activation may act on nothing else."""
    of_neurons = [*found.activations, *found.gradients]
    sums = np.isfinite((found.logit_difference, found.direct.sum())).all()
    return bool(sums) and all(bool(values.isfinite().all()) for values in of_neurons)
