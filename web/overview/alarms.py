"""Signs that something is wrong with the calls of a run, each with the threshold it passed."""

from collections.abc import Iterator, Sequence

from web.formats import count, percent
from web.overview.limits import ModelUse

FEWEST = 50  # of what is looked at: a share of fewer says nothing
UNDEFINED = 0.2  # of the neurons looked at
FAILED = 0.05  # of the neurons that have ended
CACHED_BEFORE, FEWEST_CACHED = 0.2, 20_000  # share of prompt tokens, and tokens


_OUTCOMES = (
    ("truncated", 0.02, "answers were cut off at their limit of tokens"),
    ("reasoning", 0.02, "answers ended before they began: the model reasons too long"),
    ("refused", 0.02, "answers were refusals"),
    ("incomplete", 0.02, "answers were broken off by the server"),
    ("rate_limited", 0.01, "calls met a limit of the server that is below yours"),
    ("timeout", 0.05, "calls were not answered within `timeout_s` of the endpoint"),
    ("unavailable", 0.05, "calls brought no answer"),
)
"""What calls came to, the share from which that is an alarm, and what it is."""


def alarms_about_calls(uses: Sequence[ModelUse]) -> Iterator[str]:
    """Yield what is wrong with the calls of the last minutes."""
    for use in uses:
        calls = sum(use.outcomes.values())
        for outcome, share, says in _OUTCOMES:
            n = use.outcomes.get(outcome, 0)
            if calls >= FEWEST and n >= share * calls:
                yield (
                    f"{use.model}: {count(n)} of {count(calls)} {says}, in the last 15 minutes "
                    f"(alarm from {percent(share)})"
                )
        if _has_lost_its_cache(use):
            yield (
                f"{use.model}: no prompt token of the last 15 minutes came from the cache, before "
                f"that {percent(use.cached_before)} (alarm where {percent(CACHED_BEFORE)} or more "
                "fall to none): are prompts still the same at their beginning?"
            )


def _has_lost_its_cache(use: ModelUse) -> bool:
    had = use.cached_before is not None and use.cached_before >= CACHED_BEFORE
    return had and use.cached_share == 0 and use.prompt_tokens >= FEWEST_CACHED
