"""Simulator `json`: a chat model writes one integer for each token, as a JSON object."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, ClassVar

from neurogloss.errors import Malformed
from neurogloss.neurons.few_shot import EXAMPLES, on_scale
from neurogloss.neurons.json_answers import read_activations, read_records
from neurogloss.neurons.prompts import Message, message, visible
from neurogloss.neurons.records import MAX_NORMALIZED
from neurogloss.neurons.simulation import Simulation
from neurogloss.neurons.simulators.answer_forms import (
    FORMS,
    FormName,
    level,
    object_of,
    strict_format,
)
from neurogloss.neurons.simulators.base import CHAT, ModelReply, SimulatorRequest, Tokens

_SYSTEM = (
    "You study neurons of a neural network. Every neuron looks for one particular thing in short "
    "texts. You are told what a neuron looks for and given the tokens of {what}, numbered. Predict "
    "the neuron's activation on every token: an integer from 0, where it finds nothing, to "
    "{highest}, where it finds exactly what it looks for. Most activations are 0. A neuron sees a "
    "token and what comes before it, never what follows. Answer with one JSON object that has "
    r"{keys}. In tokens, \n stands for a line break and \t for a tab."
)
_ONE = "a text"
_SEVERAL = {
    "what": "some texts",
    "keys": "the number of every text as a key, and under it an object that has the number of "
    "every token as a key",
}


@dataclass(frozen=True, slots=True)
class JsonSimulator:
    """Asks for up to `records_per_call` records in one call.

    `form` is that of the answer about one record; several records have the form `positions`.
    """

    records_per_call: int = 1
    form: FormName = "positions"
    kind: ClassVar[str] = "json"

    @property
    def records_at_once(self) -> int:
        return self.records_per_call

    def ask(self, explanation: str, records: Sequence[Tokens]) -> list[SimulatorRequest]:
        """Return one request for all the records."""
        return [SimulatorRequest(CHAT, json_body(explanation, records, form=self.form))]

    def read(
        self, explanation: str, records: Sequence[Tokens], replies: Sequence[ModelReply]
    ) -> list[Simulation | Malformed]:
        """Return the simulation of each record, read independently of the others."""
        (reply,) = replies
        if len(records) == 1:
            return [Simulation(FORMS[self.form].read(reply.text, len(records[0])))]
        answers = read_records(reply.text, len(records))
        return [_read(values, len(record)) for values, record in zip(answers, records, strict=True)]


def _read(values: Any, n_tokens: int) -> Simulation | Malformed:
    try:
        return Simulation(read_activations(values, n_tokens))
    except Malformed as error:
        return error


def json_body(
    explanation: str,
    records: Sequence[Tokens],
    highest: int = MAX_NORMALIZED,
    form: FormName = "positions",
) -> dict[str, Any]:
    """Return the body, without the model, of the request for these records.

    All messages but the last are the same for every neuron, and the last begins with the
    explanation, which all records of a neuron share: so prompt caches serve most of the prompt.
    """
    lengths = tuple(len(record) for record in records)
    return {
        "messages": json_messages(explanation, records, highest, form),
        "max_tokens": sum(FORMS[form].tokens_each * n_tokens + 16 for n_tokens in lengths),
        "temperature": 0.0,
        "response_format": response_format(lengths, highest, form),
    }


def json_messages(
    explanation: str,
    records: Sequence[Tokens],
    highest: int = MAX_NORMALIZED,
    form: FormName = "positions",
) -> list[Message]:
    """Return the messages of the request to simulate these records by an explanation."""
    # Cached: all requests share this list, so it is copied below and never changed.
    examples = _examples(len(records) > 1, highest, form)
    return [*examples, message("user", _question(explanation, records))]


@cache
def _examples(several: bool, highest: int, form: FormName) -> Sequence[Message]:
    of_one = {"what": _ONE, "keys": FORMS[form].asked_for}
    system = _SYSTEM.format(highest=highest, **(_SEVERAL if several else of_one))
    messages = [message("system", system)]
    for example in EXAMPLES:
        records = example.records if several else example.records[:1]
        shown = [on_scale(record, highest) for record in records]
        tokens = [[token for token, _ in record] for record in shown]
        values = [[activation for _, activation in record] for record in shown]
        messages.append(message("user", _question(example.explanation, tokens)))
        messages.append(message("assistant", _answer(tokens, values, form)))
    return messages


def _question(explanation: str, records: Sequence[Tokens]) -> str:
    lines = [f"The neuron looks for: {visible(explanation)}"]
    for number, tokens in enumerate(records):
        lines.append(f"Tokens of text {number}:" if len(records) > 1 else "Tokens:")
        lines += [f"{position}: {visible(token)}" for position, token in enumerate(tokens)]
    return "\n".join(lines)


def _answer(tokens: Sequence[Tokens], values: Sequence[Sequence[int]], form: FormName) -> str:
    written = [FORMS[form].written(*pair) for pair in zip(tokens, values, strict=True)]
    answer = written[0] if len(written) == 1 else dict(enumerate(written))
    return json.dumps(answer, separators=(",", ":"))


@lru_cache(maxsize=256)  # records have one length, but test sentences have any
def response_format(
    lengths: tuple[int, ...], highest: int = MAX_NORMALIZED, form: FormName = "positions"
) -> dict[str, Any]:
    """Return the format of an answer for records of these lengths.

    Its schema, if it has one, depends on the lengths alone, so that providers compile it once. It
    uses static keys and enums, which every provider's strict mode takes. With several records, each
    length is defined once and referred to, because providers limit the enum values of a schema
    (OpenAI to 1,000; a record of 64 tokens has 704).
    """
    if len(lengths) == 1:
        return FORMS[form].response_format(lengths[0], highest)
    schema = object_of([{"$ref": f"#/$defs/tokens{length}"} for length in lengths])
    of_length = {f"tokens{n}": object_of([level(highest)] * n) for n in sorted({*lengths})}
    return strict_format(schema | {"$defs": of_length})
