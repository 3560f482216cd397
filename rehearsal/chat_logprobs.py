"""Made-up log probabilities of a chat answer, consistent with it."""

import math
import re
from typing import Any

from rehearsal.seeded_random import uniform

_LEVELS = range(11)
# A number that is a value; JSON keys stand in quotes and are certain.
_VALUE = r'(?<![\w."])(?:10|\d)(?![\w."])'
_TOKEN = re.compile(rf"(?P<value>{_VALUE})|(?:(?!{_VALUE}).){{1,4}}", re.DOTALL)
_CERTAIN = -0.001


def chat_logprobs(text: str, top: int, seed: int, digest: bytes) -> list[dict[str, Any]]:
    """Return the `logprobs.content` of a chat completion.

    Numbers from 0 to 10 are tokens of their own, with a distribution over all eleven that decreases
    on both sides of the number in the answer. Everything else is cut into pieces of at most four
    characters, which are nearly certain. There may be more of these tokens than `usage` counts.

    Args:
        text: The answer.
        top: Alternatives to give at each token, 0 to 20; there may be fewer.
        seed: The server's seed.
        digest: SHA-256 of the request.
    """
    return [
        _entry(match, top, uniform(seed, "logprobs", digest, index))
        for index, match in enumerate(_TOKEN.finditer(text))
    ]


def levels_around(center: int, spread: float) -> list[tuple[str, float]]:
    """Return all levels with their log probabilities, the likeliest first, which is `center`.

    `spread`, from 0 to 1, is the width of the distribution.
    """
    # With 0.2 the answer is nearly certain, with 0.8 its neighbours are likely too: the expected
    # value is then another than the answer, which a client that reads only the answer would not
    # notice.
    decay = 0.2 + 0.6 * spread
    weights = {level: decay ** abs(level - center) for level in _LEVELS}
    log_total = math.log(sum(weights.values()))
    # The levels on both sides weigh the same; the lower one comes first, in every run.
    ranked = sorted(weights, key=lambda level: (-weights[level], level))
    return [(str(level), math.log(weights[level]) - log_total) for level in ranked]


def _entry(match: re.Match[str], top: int, spread: float) -> dict[str, Any]:
    token = match[0]
    ranked = levels_around(int(token), spread) if match["value"] else [(token, _CERTAIN)]
    return {**_token(*ranked[0]), "top_logprobs": [_token(*pair) for pair in ranked[:top]]}


def _token(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": round(logprob, 6), "bytes": list(token.encode())}
