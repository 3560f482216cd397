"""Probing whether a server continues an answer whose beginning is in the request."""

from neurogloss.errors import RowError, Truncated, UnsuitableModel
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.probe import PURPOSE, Finding, Probe
from neurogloss.llm.single_calls import SingleCalls
from neurogloss.neurons.prompts import LEAD_IN, prefilled
from neurogloss.neurons.reasoning import without_reasoning
from neurogloss.neurons.token_space import token_space_body

_TOKENS = (" Rhine", " Danube", " Seine")


def probe_prefill(endpoint: Endpoint, model: str, max_tokens: int | None = None) -> Probe:
    """Find out whether a model goes on after the lead-in of an explanation.

    A server that takes the lead-in for a whole answer begins anew, mostly with the same words.

    Args:
        endpoint: Where it is.
        model: Its name.
        max_tokens: That of the configuration, for a model that thinks before it answers.

    Raises:
        RunError: It does not, or the endpoint refuses.
    """
    with SingleCalls(endpoint, model, PURPOSE, max_tokens) as calls:
        try:
            text = calls.ask(prefilled(token_space_body(_TOKENS))).text
        except Truncated as error:
            text = error.text  # long, but an answer
        except RowError as error:
            raise _unsuitable(model, error.reason) from error
        if without_reasoning(text).strip().casefold().startswith(LEAD_IN):
            raise _unsuitable(model, "it begins its answer anew")
        finding = Finding("prefill", True, "it goes on after the lead-in")
        return Probe((finding,), calls.refused, tuple(calls.answers))


def _unsuitable(model: str, reason: str) -> UnsuitableModel:
    return UnsuitableModel(
        f"{model} does not go on after an answer's beginning: {reason}. Set explainer.prefill = "
        "false"
    )
