"""The base class of configuration tables, and the types of their values with their ranges."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_INT = 2**31 - 1  # the largest integer of a Postgres column

Positive = Annotated[int, Field(ge=1, le=MAX_INT)]
NotNegative = Annotated[int, Field(ge=0, le=MAX_INT)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]  # a signed integer of 64 bits, as in TOML
TokenCount = Annotated[int, Field(ge=1, le=10**12)]
TokenPrice = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]  # USD per million tokens
Seconds = Annotated[float, Field(gt=0, le=7 * 86_400, allow_inf_nan=False)]
Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$")]  # one line, without control characters
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]  # of a run

# A key that came after runs were stored: None is left out, so that they keep their hash.
AnswerTokens = Annotated[
    Annotated[int, Field(ge=60, le=1_000_000)] | None, Field(exclude_if=lambda value: value is None)
]

# Another one: 0 is left out.
Share = Annotated[
    float, Field(ge=0, le=1, allow_inf_nan=False, exclude_if=lambda value: value == 0)
]


class Section(BaseModel):
    """A table of the TOML file: immutable, without unknown keys, without conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
