"""Tokens that have broken parsers of simulations, and ways to make more."""

from hypothesis import strategies as st

HOSTILE = (
    "",
    " ",
    "\t",
    "\t\t",
    "\n",
    "\n\n",
    " \n",
    "\r\n",
    "\x00",
    "\x0b",
    "\u2028",
    "\u00a0",
    "\u200b",
    "\ufffd",
    "\ufffd\ufffd",
    "\\n",
    "\\",
    "0",
    "10",
    " 7",
    "11",
    "unknown",
    " unknown",
    "unknown\n",
    "<start>",
    "<end>",
    "<|endoftext|>",
    '"',
    '{"0":',
    "🦀",
    "Ω",
    "word",
    " of",
)

hostile_tokens = st.lists(
    st.one_of(st.sampled_from(HOSTILE), st.text(max_size=5)), min_size=1, max_size=12
)
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=12),
        st.sampled_from(("3", " 10", "bytes:\\xe2", "logprobs", "content")),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(
                st.sampled_from(
                    ("tokens", "top_logprobs", "token", "logprob", "bytes", "decoded_token", "0")
                ),
                st.text(max_size=4),
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
