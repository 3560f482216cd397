"""The table of what providers answer: each row's meaning, wait, and what is tried next."""

import tomllib
from pathlib import Path

import httpx
import pytest

from neurogloss.errors import (
    EndpointAway,
    Malformed,
    NeuroglossError,
    RateLimited,
    RequestRejected,
    RowError,
    RunError,
    TransientError,
)
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.parameter_support import ParameterSupport, format_name
from neurogloss.llm.responses import UnsupportedParameter, raise_for_error, read_completion

TABLE = Path(__file__).with_name("provider_answers.toml")
ROWS = tomllib.loads(TABLE.read_text(encoding="utf-8"))["answer"]
DATE = {"Date": "Fri, 27 Nov 2026 12:00:00 GMT"}
SCHEMA = {"type": "object", "properties": {"0": {"type": "integer"}}, "required": ["0"]}
FORMATS = {
    "json_schema": {
        "type": "json_schema",
        "json_schema": {"name": "simulation", "strict": True, "schema": SCHEMA},
    },
    "json_object": {"type": "json_object"},
}
PROVIDERS = (
    "OpenAI Azure Anthropic Gemini DeepSeek Mistral OpenRouter Together Groq vLLM llama.cpp Ollama "
    "TGI SGLang LiteLLM Fireworks Cloudflare nginx"
)


def meaning(row):
    """Return the error of a row, or the outcome of its success."""
    response = httpx.Response(
        row["status"], headers={**DATE, **row.get("headers", {})}, text=row["body"]
    )
    try:
        raise_for_error(response, None)
        completion = read_completion(response.content)
    except NeuroglossError as error:
        return error
    return completion.answer(
        identity=b"",
        purpose="explain",
        endpoint=Endpoint(name="e", base_url="http://e"),
        model="m",
        attempts=1,
        latency_ms=1,
        request_id=None,
    ).outcome()


def body_of(row):
    sent = FORMATS[row.get("sent", "json_schema")]
    style = {"temperature": 1.0, "top_p": 1.0, "seed": 1}
    return {"max_tokens": 60, **style, "prompt_logprobs": 1, "response_format": sent}


def next_of(error, body):
    """Return what is tried after an error, in the words of the table."""
    if isinstance(error, UnsupportedParameter | RequestRejected):
        trial = ParameterSupport().trial("m")
        try:
            trial.refused(error, body)
            return change_of(body, trial.body(body))
        except (RowError, RunError) as final:
            error = final
    if isinstance(error, TransientError):
        return "the call"
    if isinstance(error, Malformed):
        return "once more"
    return "other neurons" if isinstance(error, RowError) else "a person"


def change_of(before, after):
    gone = before.keys() - after.keys()
    if "response_format" in gone:
        return "no format"
    return f"without {gone.pop()}" if gone else f"as {format_name(after['response_format'])}"


@pytest.mark.parametrize("row", ROWS, ids=[row["of"] for row in ROWS])
def test_what_a_provider_answers_has_its_meaning(row):
    error = meaning(row)
    assert type(error).__name__ == row["means"], error
    assert next_of(error, body_of(row)) == row["next"]
    wait = error.retry_after if isinstance(error, RateLimited | EndpointAway) else None
    assert wait == pytest.approx(row.get("wait"))


def test_the_table_has_every_provider_and_names_its_sources():
    named = {row["of"].split(":")[0] for row in ROWS}
    assert set(PROVIDERS.split()) <= named
    assert all(row["source"] == "assumed" or "://" in row["source"] for row in ROWS)
    assert len({row["of"] for row in ROWS}) == len(ROWS)
