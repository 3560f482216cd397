"""The request parameters that a model does not support, as its refusals tell.

Reasoning models want `max_completion_tokens` and no `temperature`. Of formats, each server takes
other ones: a strict schema, a simple one, `json_object` with a schema, `json_object`, or none.
"""

import logging
from collections.abc import Mapping
from typing import Any

from neurogloss.errors import ContextExceeded, RequestRejected, UnsuitableModel
from neurogloss.llm.error_classes import UnsupportedParameter
from neurogloss.llm.error_words import FORMAT

log = logging.getLogger(__name__)

_RENAMED = {"max_tokens": "max_completion_tokens"}
_STRICT, _OBJECT = "json_schema", "json_object"
_LADDER = (_STRICT, "simple_schema", "object_schema", _OBJECT)
"""The formats, from the most that is asked of a server to the least; after them comes none."""
_SIMPLE = ("type", "required")
"""Keywords, beside `properties`, that every server with schemas takes."""
_DISPENSABLE = {"temperature", "top_p", FORMAT, "seed"}
"""What changes the style of an answer: without a schema, the prompt asks for the same object."""


class ParameterSupport:
    """The parameters of one model.

    Attributes:
        refused: What it is known not to support: parameters, and formats of the ladder.
        taken: The formats of the ladder that it has taken.
    """

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.taken: set[str] = set()

    def adapt(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a body without the refused parameters, or with what takes their place."""
        adapted = {}
        for name, value in body.items():
            kept = self._format(value) if name == FORMAT else value
            if kept is not None and (name not in self.refused or name in _RENAMED):
                adapted[_RENAMED.get(name, name) if name in self.refused else name] = kept
        return adapted

    def _format(self, wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the first format from the wanted one downwards that is not refused."""
        first = _LADDER.index(format_name(wanted))
        if _LADDER[first] not in self.refused:
            return wanted
        left = [name for name in _LADDER[first + 1 :] if name not in self.refused]
        schema = wanted.get("schema") or wanted.get("json_schema", {}).get("schema")
        return _written(left[0], schema) if left and schema else _last(left)

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
        self.note(_name(refused, sent), str(error), model)

    def note(self, refused: str, reason: str, model: str) -> None:
        """Note a refused parameter or format, and log it the first time."""
        if refused not in self.refused:
            fields = {"model": model, "parameter": refused, "reason": reason}
            log.warning("parameter not supported", extra=fields)
        self.refused.add(refused)

    def trial(self, model: str) -> "CallTrial":
        """Return the attempts at one call."""
        return CallTrial(self, model)


class CallTrial:
    """The attempts at one call, with fewer and fewer parameters.

    A server that rejects a call in words that name no parameter may mean its format. So formats
    that the model never took are tried downwards, and what is learnt holds once the call is taken.
    """

    def __init__(self, support: ParameterSupport, model: str) -> None:
        self._support, self._model = support, model
        self._suspected = ParameterSupport()
        self._first: RequestRejected | None = None

    def body(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the body to send next."""
        self._suspected.refused |= self._support.refused
        return self._suspected.adapt(body) if self._suspected.refused else body

    def refused(
        self, error: UnsupportedParameter | RequestRejected, sent: Mapping[str, Any]
    ) -> None:
        """Note a refusal.

        Raises:
            UnsuitableModel: The run depends on the parameter.
            RequestRejected: There is nothing that the call could do without.
        """
        if isinstance(error, UnsupportedParameter):
            self._support.record_refusal(error, sent, self._model)
            return
        if isinstance(error, ContextExceeded):
            raise error  # it would be too long in any form
        self._first = self._first or error
        name = format_name(sent[FORMAT]) if FORMAT in sent else None
        # A format that the model took before is not what it rejects now.
        if name is None or name in self._support.taken:
            raise self._first
        self._suspected.refused.add(name)

    def accepted(self, sent: Mapping[str, Any]) -> None:
        """Note that a body was taken: what it lacks was the reason of the refusals before."""
        if FORMAT in sent:
            self._support.taken.add(format_name(sent[FORMAT]))
        if self._first is not None:
            for name in _LADDER:
                if name in self._suspected.refused:
                    self._support.note(name, self._first.reason, self._model)


def format_name(value: Mapping[str, Any]) -> str:
    """Return the name in the ladder of a `response_format`."""
    if value["type"] == _STRICT:
        return _STRICT if value["json_schema"].get("strict") else "simple_schema"
    return "object_schema" if "schema" in value else _OBJECT


def _name(refused: str, sent: Mapping[str, Any]) -> str:
    return format_name(sent[refused]) if refused == FORMAT else refused


def _written(name: str, schema: Any) -> Mapping[str, Any]:
    """Return the `response_format` of a name in the ladder."""
    if name == "simple_schema":
        simple = _simple(schema, schema.get("$defs", {}))
        return {"type": _STRICT, "json_schema": {"name": "answer", "schema": simple}}
    return {"type": _OBJECT, "schema": schema} if name == "object_schema" else {"type": _OBJECT}


def _last(left: list[str]) -> Mapping[str, Any] | None:
    return {"type": _OBJECT} if _OBJECT in left else None


def _simple(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with the keywords alone that every server with schemas takes."""
    if (reference := schema.get("$ref")) is not None:
        return _simple(definitions[reference.rpartition("/")[2]], definitions)
    kept = {key: schema[key] for key in _SIMPLE if key in schema}
    if "properties" in schema:
        properties = schema["properties"].items()
        kept["properties"] = {name: _simple(value, definitions) for name, value in properties}
    return kept
