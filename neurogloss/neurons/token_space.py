"""The request to explain a neuron from the tokens of highest mean activation, without context.

The paper explains token lookup tables in this way (#sec-baselines). All messages but the last are
the same for every neuron, so that prompt caches serve them.
"""

from collections.abc import Sequence
from typing import Any

from neurogloss.neurons.few_shot import TOKENS_EXAMPLES
from neurogloss.neurons.lookup import quoted
from neurogloss.neurons.prompts import EXPLANATION_MAX_TOKENS, LEAD_IN, message

_SYSTEM = (
    "You study neurons of a neural network. Every neuron looks for one particular kind of token. "
    "You are shown the tokens on which a neuron is most active, the strongest first, each in "
    "quotes. Say in one short sentence what kind of token the neuron looks for. Generalise; do not "
    "list the tokens."
)


def token_space_body(tokens: Sequence[str]) -> dict[str, Any]:
    """Return the body, without the model, of the request to explain tokens, strongest first."""
    messages = [message("system", _SYSTEM)]
    for example in TOKENS_EXAMPLES:
        messages.append(message("user", _question(example.tokens)))
        messages.append(message("assistant", f"{LEAD_IN} {example.explanation}."))
    return {
        "messages": [*messages, message("user", _question(tokens))],
        "max_tokens": EXPLANATION_MAX_TOKENS,
        "temperature": 1.0,
        "top_p": 1.0,
    }


def _question(tokens: Sequence[str]) -> str:
    listed = ", ".join(map(quoted, tokens))
    return f'Tokens: {listed}\nExplain the neuron. Begin with "{LEAD_IN}".'
