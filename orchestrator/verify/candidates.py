"""Is the explanation of a neuron the candidate that the rules would choose?"""

from collections.abc import Iterator
from operator import itemgetter

import numpy as np

from neurogloss.config.run import RunConfig
from orchestrator.verify.stored_neurons import StoredNeuron
from worker.stages.candidates import best


def candidate_faults(stored: StoredNeuron, config: RunConfig) -> Iterator[str]:
    """Yield what is missing of the candidates, or contradicts the choice among them."""
    explainer = config.explainer
    if not explainer.has_candidates or stored.is_imported:
        return
    texts = {row["number"]: row["text"] for row in stored.rows["candidate"]}
    drafts = range(explainer.candidates)
    if stored.is_owed_by("explain") and not texts.keys() >= set(drafts):
        yield f"it has {len(texts)} candidates, where {len(drafts)} drafts were asked for"
        return
    kept = 0
    if explainer.candidates > 1:
        found = _judged(stored, "choose")
        if stored.is_owed_by("choose") and found.keys() != set(drafts):
            yield f"of {len(drafts)} drafts, {len(found)} are judged"
            return
        kept = best(found) if found else 0
    if explainer.revise:
        yield from _revision_faults(stored, explainer.sentences)
        judged = _judged(stored, "revise")
        if stored.is_owed_by("revise") and judged.keys() != {kept, explainer.candidates}:
            yield f"candidates {sorted(judged)} are judged, not {kept} and its revision"
            return
        kept = best(judged) if judged else kept
    if stored.explanation is not None and stored.explanation["text"] != texts.get(kept):
        yield f"its explanation is not candidate {kept}, which was judged best"


def _judged(stored: StoredNeuron, stage: str) -> dict[int, float | None]:
    rows = (row for row in stored.rows["candidate_score"] if row["stage"] == stage)
    return dict(map(itemgetter("number", "score"), rows))


def _revision_faults(stored: StoredNeuron, n_sentences: int) -> Iterator[str]:
    sentences = stored.rows["sentence"]
    if stored.is_owed_by("illustrate") and len(sentences) != n_sentences:
        yield f"it has {len(sentences)} sentences, where {n_sentences} were asked for"
    if not stored.is_owed_by("observe"):
        return
    for row in sentences:
        if row["tokens"] is None or row["activations"] is None:
            yield f"sentence {row['number']} is not observed"
            continue
        tokens = np.frombuffer(row["tokens"], np.int32)
        activations = np.frombuffer(row["activations"], np.float16)
        if len(tokens) != len(activations) or not np.isfinite(activations).all():
            yield f"sentence {row['number']} has no activation for each of its tokens"
