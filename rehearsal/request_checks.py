"""Checks that are common to all kinds of request."""

from collections.abc import Sequence
from typing import Any

import orjson
from pydantic import ValidationError

from rehearsal.replies import ApiError


def load_json(body: bytes) -> Any:
    """Decode a body.

    Raises:
        ApiError: 400 if it is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"the body is not JSON: {error}") from error


def bad_request(error: ValidationError) -> ApiError:
    """Return a 400 that names the first wrong field of a body."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    param = ".".join(str(part) for part in first["loc"])
    return ApiError(400, f"{param}: {first['msg']}", param=param)


def refuse_unsupported(*, n: int | None, stream: bool | None) -> None:
    """Refuse requests for several answers, or for a stream.

    Raises:
        ApiError: 400 if the request asks for one of them.
    """
    if n not in (None, 1):
        raise ApiError(400, "n: the rehearsal server gives one answer, use 1", param="n")
    if stream:
        raise ApiError(400, "stream: the rehearsal server does not stream", param="stream")


def refuse_unknown_model(model: str, models: Sequence[str]) -> None:
    """Refuse a model that is not in `models`; if that is empty, any name will do.

    Raises:
        ApiError: 404 if there is no such model.
    """
    if models and model not in models:
        raise ApiError(
            404,
            f"the model `{model}` does not exist here; there is {', '.join(models)}",
            code="model_not_found",
            param="model",
        )
