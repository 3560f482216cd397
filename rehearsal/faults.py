"""Faults that the server makes on purpose, and the choice of those that strike a request."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final, Literal, Self, get_args

from rehearsal.seeded_random import uniform

TransportFault = Literal["rate_limit", "rate_limit_bare", "server_error", "drop"]
ContentFault = Literal[
    "malformed", "truncated", "refusal", "empty", "position_missing", "position_added"
]

TRANSPORT_FAULTS: Final[tuple[TransportFault, ...]] = get_args(TransportFault)
CONTENT_FAULTS: Final[tuple[ContentFault, ...]] = get_args(ContentFault)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRates:
    """The probability of each fault, from 0 to 1.

    With one of the first four the request gets no answer, and costs nothing. `slow` only delays the
    answer. The last six make answers useless, which are paid for all the same.
    """

    rate_limit: float = 0.0
    """429 with Retry-After."""
    rate_limit_bare: float = 0.0
    """429 without Retry-After."""
    server_error: float = 0.0
    """500, 502 (whose body is a page, not JSON) or 503."""
    drop: float = 0.0
    """The connection is closed without a reply."""
    slow: float = 0.0
    """The reply takes `slow_seconds` longer."""
    malformed: float = 0.0
    """The content is broken JSON, or not what was asked for."""
    truncated: float = 0.0
    """Half of the content, with finish_reason "length"."""
    refusal: float = 0.0
    """No content, and `refusal` set on the message."""
    empty: float = 0.0
    """The content is an empty text."""
    position_missing: float = 0.0
    """A simulation has a token less than was asked for; other answers do not change."""
    position_added: float = 0.0
    """A simulation has a token more than was asked for; other answers do not change."""

    @classmethod
    def named(cls, rates: Iterable[tuple[str, float]]) -> Self:
        """Make rates from pairs of kind and rate; if a kind is there twice, the last one counts.

        Raises:
            ValueError: There is no such kind, or a rate is impossible.
        """
        kinds = [field.name for field in fields(cls)]
        chosen = dict(rates)
        if unknown := [kind for kind in chosen if kind not in kinds]:
            raise ValueError(f"faults: {unknown[0]!r} is none of {', '.join(kinds)}")
        return cls(**chosen)

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"faults: {name} is {getattr(self, name)}, not a probability from 0 to 1"
                )
        for group in (TRANSPORT_FAULTS, CONTENT_FAULTS):
            # Rates that add up to 1 on paper may exceed it by an error of rounding.
            if (total := sum(getattr(self, name) for name in group)) > 1 + 1e-9:
                raise ValueError(f"faults: {', '.join(group)} add up to {total:g}, more than 1")

    @property
    def any_transport(self) -> bool:
        return any(getattr(self, kind) for kind in TRANSPORT_FAULTS)

    @property
    def any_content(self) -> bool:
        return any(getattr(self, kind) for kind in CONTENT_FAULTS)


@dataclass(frozen=True, slots=True)
class Faults:
    """Decides which fault strikes a request.

    The decision depends on the body and on how often that body has come, and not on other requests,
    their order or number. So a run meets the same faults with any number of workers, and a request
    that is sent again is decided anew, so that it succeeds in the end.
    """

    rates: FaultRates
    seed: int

    def transport(self, digest: bytes, seen: int) -> TransportFault | None:
        """Return the fault that prevents an answer, if any.

        `seen` is the number of earlier arrivals of the same body.
        """
        if not self.rates.any_transport:
            return None
        # One draw decides among all kinds: each has an interval of [0, 1) as long as its rate.
        point = uniform(self.seed, "transport", digest, seen)
        for kind in TRANSPORT_FAULTS:
            point -= getattr(self.rates, kind)
            if point < 0:
                return kind
        return None

    def content(self, digest: bytes, replies: int) -> ContentFault | None:
        """Return the fault in the answer, if any.

        `replies` is the number of earlier answers to the same body. Arrivals without an answer are
        not counted: how often a client is refused by a limit depends on the clock, on which the
        content of answers must not depend.
        """
        if not self.rates.any_content:
            return None
        point = uniform(self.seed, "content", digest, replies)
        for kind in CONTENT_FAULTS:
            point -= getattr(self.rates, kind)
            if point < 0:
                return kind
        return None

    def is_slow(self, digest: bytes, seen: int) -> bool:
        slow = self.rates.slow
        return slow > 0 and uniform(self.seed, "slow", digest, seen) < slow
