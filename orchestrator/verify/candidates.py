"""Check that the explanation of a neuron is the candidate that the rules choose."""

from collections.abc import Iterator

import numpy as np

from neurogloss.config.run import RunConfig
from neurogloss.neurons.candidates import best_candidate
from orchestrator.verify.checked_neuron import CheckedNeuron


def candidate_faults(checked: CheckedNeuron, config: RunConfig) -> Iterator[str]:
    """Yield missing candidates, and contradictions to the rules of the choice among them."""
    explainer, stored = config.explainer, checked.stored
    if not explainer.has_candidates or stored.imported is not None:
        return
    texts = {row.number: row.text for row in stored.candidates}
    drafts = range(explainer.candidates)
    if checked.is_owed_by("explain") and not texts.keys() >= set(drafts):
        yield f"it has {len(texts)} candidates, where {len(drafts)} drafts were asked for"
        return
    kept = 0
    if explainer.candidates > 1:
        judged = _judged(checked, "choose")
        if checked.is_owed_by("choose") and judged.keys() != set(drafts):
            yield f"of {len(drafts)} drafts, {len(judged)} are judged"
            return
        kept = best_candidate(judged) if judged else 0
    if explainer.revise:
        yield from _revision_faults(checked, explainer.sentences)
        judged = _judged(checked, "revise")
        if checked.is_owed_by("revise") and judged.keys() != {kept, explainer.candidates}:
            yield f"candidates {sorted(judged)} are judged, not {kept} and its revision"
            return
        kept = best_candidate(judged) if judged else kept
    if stored.explanation is not None and stored.explanation.text != texts.get(kept):
        yield f"its explanation is not candidate {kept}, which was judged best"


def _judged(checked: CheckedNeuron, stage: str) -> dict[int, float | None]:
    rows = (row for row in checked.stored.candidate_scores if row.stage == stage)
    return {row.number: row.score for row in rows}


def _revision_faults(checked: CheckedNeuron, n_sentences: int) -> Iterator[str]:
    sentences = checked.stored.sentences
    if checked.is_owed_by("illustrate") and len(sentences) != n_sentences:
        yield f"it has {len(sentences)} sentences, where {n_sentences} were asked for"
    if not checked.is_owed_by("observe"):
        return
    for row in sentences:
        if row.tokens is None or row.activations is None:
            yield f"sentence {row.number} is not observed"
        elif len(row.tokens) != len(row.activations) or not np.isfinite(row.activations).all():
            yield f"sentence {row.number} has no activation for each of its tokens"
