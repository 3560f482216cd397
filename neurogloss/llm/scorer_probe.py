"""Whether a model can be a scorer: JSON of zeros and ones, with log probabilities if asked for."""

from neurogloss.errors import RequestRejected, RowError, UnsuitableModel
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.probe import PURPOSE, Finding, Probe
from neurogloss.llm.single_calls import SingleCalls
from neurogloss.neurons.classification import (
    LabelledExample,
    classification_body,
    read_classification,
)
from neurogloss.neurons.simulators.base import ModelReply

_EXPLANATION = "names of rivers"
_EXAMPLES = [
    LabelledExample(" From the Rhine it is 10 miles", True),
    LabelledExample(" She wrote a letter to her friend", False),
]


def probe_scorer(
    endpoint: Endpoint, model: str, top_logprobs: int | None, max_tokens: int | None = None
) -> Probe:
    """Find out whether a model classifies texts, by a paid call for each of the two features.

    Args:
        endpoint: Where it is.
        model: Its name.
        top_logprobs: That of the configuration; None asks for no log probabilities.
        max_tokens: That of the configuration, for a model that thinks before it answers.

    Raises:
        RunError: The endpoint is not there, or refuses the key or the model.
    """
    with SingleCalls(endpoint, model, PURPOSE, max_tokens) as calls:
        findings = [_try(calls, "json", None)]
        if top_logprobs is not None:
            findings.append(_try(calls, "top_logprobs", top_logprobs))
        return Probe(tuple(findings), calls.refused, tuple(calls.answers))


def _try(calls: SingleCalls, name: str, top_logprobs: int | None) -> Finding:
    try:
        answer = calls.ask(classification_body("detection", _EXPLANATION, _EXAMPLES, top_logprobs))
        reply = ModelReply(answer.text, answer.distributions)
        read = read_classification(reply, len(_EXAMPLES))
    except (RequestRejected, UnsuitableModel, RowError) as error:
        return Finding(name, False, error.reason)
    if top_logprobs is None:
        return Finding(name, True, "its answer can be read")
    if read.probabilities is None:
        return Finding(name, False, "the answer has no log probabilities")
    return Finding(name, True, f"top_logprobs = {top_logprobs}", top_logprobs)
