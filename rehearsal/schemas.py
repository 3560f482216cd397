"""Making up values that are valid for a JSON schema."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from rehearsal.activations import activations
from rehearsal.replies import ApiError
from rehearsal.seeded_random import draw, uniform

# Any other keyword is refused: a value that was made without regard to it might not be valid.
_KEYWORDS: dict[str, type | tuple[type, ...]] = {
    "type": (str, list),
    "properties": dict,
    "required": list,
    "additionalProperties": bool,
    "items": dict,
    "minItems": int,
    "maxItems": int,
    "enum": list,
    "const": object,
    "minimum": (int, float),
    "maximum": (int, float),
    "$ref": str,
    "$defs": dict,
}
_ANNOTATIONS = frozenset({"$schema", "$id", "title", "description", "default", "examples"})
_MAX_DEPTH = 20  # of properties in properties, because a `$ref` may refer to itself
_WORDS = ("amber", "basalt", "cedar", "delta", "ember", "fjord", "garnet", "heath", "iris")
_N_WORDS = 8  # of a text


@dataclass(frozen=True, slots=True)
class SchemaFiller:
    """Makes values for schemas, which depend on the seed, the request and the place in the schema.

    Objects with the properties "0" to "n-1", all with the same enum of integers, are taken for
    the simulation of a neuron and filled with activations.
    """

    seed: int
    digest: bytes
    """SHA-256 of the request."""
    texts: Sequence[Mapping[str, str]] = ()
    """Tokens by position, for simulations; a missing position is its own token.

    Text n is that of the property "n" if that is a simulation, and text 0 that of a schema which is
    a simulation itself.
    """
    definitions: Mapping[str, Any] = field(default_factory=dict)
    """The schemas to which `$ref` refers, by name."""

    def fill(self, schema: dict[str, Any], place: str = "schema") -> Any:
        """Return a value for the schema.

        Raises:
            ApiError: 400 if the schema has a keyword or value that is not supported.
        """
        _refuse_keywords(schema, place)
        if "$ref" in schema:
            return self.fill(self._definition(schema["$ref"], place), place)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._choose(_options(schema, place), place)
        kind = schema.get("type")
        # Of a list of types, such as ["string", "null"], the first one.
        match kind[0] if isinstance(kind, list) and kind else kind:
            case "object":
                return self._object(schema, place)
            case "array":
                return self._array(schema, place)
            case "integer":
                low, high = _range(schema, place)
                return low + draw(self.seed, self.digest, place) % (high - low + 1)
            case "number":
                return self._number(schema, place)
            case "string":
                return self._words(place)
            case "boolean":
                return self._choose([False, True], place)
            case "null":
                return None
        raise _unsupported(place, f"type {kind!r}")

    def _definition(self, reference: str, place: str) -> dict[str, Any]:
        schema = self.definitions.get(reference.removeprefix("#/$defs/"))
        if not isinstance(schema, dict) or "$ref" in schema or place.count(".") > _MAX_DEPTH:
            raise _unsupported(place, f"$ref: {reference!r}")
        return schema

    def _choose(self, options: Sequence[Any], place: str) -> Any:
        return options[draw(self.seed, self.digest, place) % len(options)]

    def _words(self, place: str) -> str:
        """Return a text of words; texts of different places are hardly ever the same."""
        return " ".join(self._choose(_WORDS, f"{place} {n}") for n in range(_N_WORDS))

    def _object(self, schema: dict[str, Any], place: str) -> dict[str, Any]:
        properties = schema.get("properties", {})
        if missing := [name for name in schema.get("required", []) if name not in properties]:
            raise _unsupported(place, f"required properties without a schema: {missing}")
        # As bytes, since a dictionary cannot be the key of a cache.
        if levels := _activation_levels(orjson.dumps(properties)):
            text = self._text_at(place)
            tokens = [text.get(position, position) for position in properties]
            return dict(zip(properties, activations(self.seed, tokens, levels), strict=True))
        return {name: self.fill(inner, f"{place}.{name}") for name, inner in properties.items()}

    def _text_at(self, place: str) -> Mapping[str, str]:
        name = place.rpartition(".")[2]
        number = int(name) if name.isdecimal() else 0
        return self.texts[number] if number < len(self.texts) else {}

    def _array(self, schema: dict[str, Any], place: str) -> list[Any]:
        if "items" not in schema:
            raise _unsupported(place, "an array without items")
        fewest = schema.get("minItems", min(1, schema.get("maxItems", 1)))
        most = schema.get("maxItems", fewest + 2)
        if not 0 <= fewest <= most:
            raise _unsupported(place, f"arrays of {fewest} to {most} items")
        length = fewest + draw(self.seed, self.digest, place) % (most - fewest + 1)
        return [self.fill(schema["items"], f"{place}[{index}]") for index in range(length)]

    def _number(self, schema: dict[str, Any], place: str) -> float:
        low = schema.get("minimum", schema.get("maximum", 10) - 10)
        high = schema.get("maximum", low + 10)
        if low > high:
            raise _unsupported(place, f"numbers from {low} to {high}")
        value = low + (high - low) * uniform(self.seed, self.digest, place)
        # The sum may exceed `high` by an error of rounding.
        return float(min(max(value, low), high))


# Cached, because all requests of a run have the same few schemas.
@lru_cache(maxsize=1024)
def _activation_levels(properties_json: bytes) -> tuple[int, ...] | None:
    """Return the levels of a simulation, ascending; None if the properties are not of one."""
    properties = orjson.loads(properties_json)
    if list(properties) != [str(position) for position in range(len(properties))]:
        return None
    enums = [schema.get("enum") for schema in properties.values() if isinstance(schema, dict)]
    if len(enums) != len(properties) or not enums or enums.count(enums[0]) != len(enums):
        return None
    # `isinstance` would let booleans through.
    if not enums[0] or any(type(level) is not int for level in enums[0]):
        return None
    return tuple(sorted(set(enums[0])))


def _options(schema: dict[str, Any], place: str) -> list[Any]:
    if not schema["enum"]:
        raise _unsupported(place, "an enum without values")
    return list(schema["enum"])


def _range(schema: dict[str, Any], place: str) -> tuple[int, int]:
    low = schema.get("minimum", min(0, schema.get("maximum", 0)))
    high = schema.get("maximum", max(low, 0) + 10)
    if not (isinstance(low, int) and isinstance(high, int) and low <= high):
        raise _unsupported(place, f"integers from {low} to {high}")
    return low, high


def _refuse_keywords(schema: object, place: str) -> None:
    if not isinstance(schema, dict):
        raise _unsupported(place, f"a schema that is {schema!r}")
    for keyword, value in schema.items():
        if keyword in _ANNOTATIONS:
            continue
        if keyword not in _KEYWORDS or not isinstance(value, _KEYWORDS[keyword]):
            raise _unsupported(place, f"{keyword}: {value!r}")


def _unsupported(place: str, what: str) -> ApiError:
    return ApiError(
        400,
        f"{place}: the rehearsal server cannot fill {what}",
        code="unsupported_schema",
        param="response_format",
    )
