"""The request parameters that a model does not support, as its refusals tell.

Reasoning models want `max_completion_tokens` and no `temperature`. Small servers know no strict
schemas, but some take one with `json_object`.
"""

import logging
from collections.abc import Mapping
from typing import Any

from neurogloss.errors import RequestRejected, UnsuitableModel
from neurogloss.llm.responses import UnsupportedParameter

log = logging.getLogger(__name__)

_RENAMED = {"max_tokens": "max_completion_tokens"}
_STRICT = "json_schema"
_DISPENSABLE = {"temperature", "top_p", "response_format", "seed"}
"""What changes the style of an answer: without a schema, the prompt asks for the same object."""


class ParameterSupport:
    """The parameters of one model. `refused` are those that it is known not to support."""

    def __init__(self) -> None:
        self.refused: set[str] = set()

    def adapt(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a body without the refused parameters, or with what takes their place."""
        return {
            _RENAMED.get(name, name) if name in self.refused else name: self._value(name, value)
            for name, value in body.items()
            if name not in self.refused or name in _RENAMED
        }

    def _value(self, name: str, value: Any) -> Any:
        strict = name == "response_format" and value["type"] == _STRICT
        if strict and _STRICT in self.refused:
            return {"type": "json_object", "schema": value["json_schema"]["schema"]}
        return value

    def record_refusal(
        self, error: UnsupportedParameter, sent: Mapping[str, Any], model: str
    ) -> None:
        """Note a parameter that a model refused, so that the call can be sent again without it.

        Args:
            error: The refusal.
            sent: The body that was refused.
            model: For messages.

        Raises:
            UnsuitableModel: The run depends on the parameter.
            RequestRejected: The call was sent without it.
        """
        refused = error.parameter
        # It was left out already: sending the same body again would be refused for ever.
        if refused not in sent:
            raise RequestRejected(error.reason) from error
        if refused not in _DISPENSABLE | _RENAMED.keys():
            raise UnsuitableModel(f"{model} does not take {refused}: {error}") from error
        # A schema is refused in two steps: first its strict form, then any response_format.
        if refused == "response_format" and sent[refused]["type"] == _STRICT:
            refused = _STRICT
        if refused not in self.refused:
            fields = {"model": model, "parameter": refused, "reason": str(error)}
            log.warning("parameter not supported", extra=fields)
        self.refused.add(refused)
