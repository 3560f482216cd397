"""A stand-in for a provider's prompt cache: how many tokens of a prompt it would hold."""

import hashlib
from collections import OrderedDict

from rehearsal.chat_requests import CHARACTERS_PER_TOKEN

# As OpenAI's prompt cache: prefixes of 1,024 tokens and more, in steps of 128.
SHORTEST_TOKENS = 1024
STEP_TOKENS = 128
# Bounds the memory of a server that runs for days.
_MAX_PREFIXES = 65_536


class PrefixCache:
    """Remembers the prefixes of prompts, by digest; the least recently used are dropped."""

    def __init__(self) -> None:
        self._prefixes: OrderedDict[bytes, None] = OrderedDict()

    def cached_tokens(self, model: str, prompt: str) -> int:
        """Return the length in tokens of the longest cached prefix, and cache all prefixes."""
        cached, start = 0, 0
        # One running digest: each prefix costs 128 more tokens, not its whole length.
        state = hashlib.blake2b(model.encode(), digest_size=16)
        for tokens in range(SHORTEST_TOKENS, len(prompt) // CHARACTERS_PER_TOKEN + 1, STEP_TOKENS):
            end = tokens * CHARACTERS_PER_TOKEN
            state.update(prompt[start:end].encode())
            start = end
            if self._remember(state.digest()):
                cached = tokens
        return cached

    def _remember(self, prefix: bytes) -> bool:
        """Cache a prefix; return whether it was cached already."""
        was_cached = prefix in self._prefixes
        self._prefixes[prefix] = None
        self._prefixes.move_to_end(prefix)
        if len(self._prefixes) > _MAX_PREFIXES:
            self._prefixes.popitem(last=False)
        return was_cached
