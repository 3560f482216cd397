"""Which part of a prompt a provider's prefix cache would hold."""

import hashlib
from collections import OrderedDict

from rehearsal.questions import CHARACTERS_PER_TOKEN

SHORTEST_TOKENS = 1024
STEP_TOKENS = 128
_PREFIXES_KEPT = 65_536


class PrefixCache:
    """Remembers prefixes of 1,024 tokens and more in steps of 128, the last used ones."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def cached_tokens(self, model: str, prompt: str) -> int:
        """Return how many tokens of the prompt were seen before, and remember all of it."""
        cached, start = 0, 0
        state = hashlib.blake2b(model.encode(), digest_size=16)
        for tokens in range(SHORTEST_TOKENS, len(prompt) // CHARACTERS_PER_TOKEN + 1, STEP_TOKENS):
            end = tokens * CHARACTERS_PER_TOKEN
            state.update(prompt[start:end].encode())
            start = end
            if self._remember(state.digest()):
                cached = tokens
        return cached

    def _remember(self, prefix: bytes) -> bool:
        """Keep a prefix and return whether it was known."""
        known = prefix in self._known
        self._known[prefix] = None
        self._known.move_to_end(prefix)
        if len(self._known) > _PREFIXES_KEPT:
            self._known.popitem(last=False)
        return known
