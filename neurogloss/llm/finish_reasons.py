"""Why a model stopped: the words of all servers, and whether an answer is whole."""

LENGTH = "length"
FILTERED = "content_filter"
_STOP = "stop"

_MEANS = {
    # The first is OpenAI's; then Anthropic's, TGI's, Together's, Cohere's and Gemini's of the same.
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "eos", "eos_token", "complete"), _STOP),
    **dict.fromkeys(("endoftext", "stop_token", "stopped", "completed"), _STOP),
    **dict.fromkeys(("length", "max_tokens", "model_length", "max_output_tokens"), LENGTH),
    **dict.fromkeys(("model_context_window_exceeded",), LENGTH),
    **dict.fromkeys(("content_filter", "safety", "recitation", "blocklist"), FILTERED),
    **dict.fromkeys(("prohibited_content", "spii", "sensitive", "refusal"), FILTERED),
}


def finish_reason_of(word: str) -> str:
    """Return OpenAI's word for a server's reason to stop; other reasons as they are."""
    # Some gateways write the name of a Python value: "FinishReason.STOP".
    return _MEANS.get(word.strip().lower().removeprefix("finishreason."), word)


def is_whole(reason: str | None) -> bool:
    """Return whether an answer that ended so is all that the model would say; None is not known."""
    return reason is None or finish_reason_of(reason) in (_STOP, LENGTH, FILTERED)
