"""The rehearsal server: the same bytes for the same request, today and tomorrow."""

import hashlib
import json
import re
import time

import httpx
import pytest

from tests.golden.project import (
    BatchOptions,
    Capabilities,
    FaultRates,
    RehearsalOptions,
    RehearsalServer,
)

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
TEXT = "Neuron 4\nActivations:\n<start>\n the\t0\n sea\t7\n\\n\t2\n🦀\t7\n<end>\nExplain neuron 4."
POSITIONS = "The neuron looks for: the sea\n0:  the\n1:  sea\n2: \\n\n3: 🦀\n4: 0: 1"
TWO_TEXTS = f"{POSITIONS}\n0: a\n1: b\n2: c\n3: d\n4: e"
UNKNOWN = "<start>\n the\tunknown\n sea\tunknown\n🦀\tunknown\n\\n\tunknown\n<end>\n"
LEVELS = {"type": "integer", "enum": list(range(11))}


def _object(properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


SIMULATION = _object({str(position): LEVELS for position in range(5)})
ANYTHING = {
    **_object(
        {
            "fires": _object({"0": {"type": "string"}, "1": {"type": "string"}}),
            "yes": {"type": "boolean"},
            "count": {"type": "integer", "minimum": 3, "maximum": 900},
            "share": {"type": "number", "minimum": 0.25, "maximum": 0.5},
            "some": {"type": "array", "items": {"$ref": "#/$defs/kind"}, "maxItems": 4},
            "none": {"type": "null"},
            "same": {"const": [1, "x"]},
        }
    ),
    "$defs": {"kind": {"enum": ["a", "b", "🦀"]}},
}
VALUE_RANGES = _object({str(number): {"type": "integer", "enum": [0, 1]} for number in range(7)})


def _formatted(schema):
    described = {"name": "answer", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": described}}


def _chat(text=TEXT, **more):
    messages = [{"role": "system", "content": "You study."}, {"role": "user", "content": text}]
    return CHAT, {"model": "rehearsal", "messages": messages, **more}


def _prompt(**more):
    return COMPLETIONS, {"model": "rehearsal", "prompt": UNKNOWN, **more}


JSON_OBJECT = {"response_format": {"type": "json_object"}}
LIKELY = {"logprobs": True, "top_logprobs": 15}
ASKED = {
    "an explanation": _chat(max_tokens=60, temperature=1.0),
    "the same once more, with a cached prefix": _chat(max_tokens=60, temperature=1.0),
    "a long prompt": _chat(text=TEXT * 100, max_tokens=60),
    "a long prompt again, of which most is cached": _chat(text=f"{TEXT * 100} Now.", max_tokens=60),
    "content in parts": (
        CHAT,
        {
            "model": "rehearsal",
            "messages": [{"role": "user", "content": [{"type": "text", "text": TEXT}]}],
        },
    ),
    "an explanation, cut off": _chat(max_tokens=5),
    "an explanation, as an object": _chat(**JSON_OBJECT),
    "a simulation without a schema": _chat(text=POSITIONS),
    "two simulations without a schema": _chat(text=TWO_TEXTS),
    "one token": _chat(text=POSITIONS, max_tokens=1),
    "one token, with log probabilities": _chat(text=POSITIONS, max_tokens=1, **LIKELY),
    "a simulation": _chat(text=POSITIONS, **_formatted(SIMULATION)),
    "two simulations": _chat(
        text=TWO_TEXTS, **_formatted(_object({"0": SIMULATION, "1": SIMULATION}))
    ),
    "a simulation with log probabilities": _chat(
        text=POSITIONS, **_formatted(SIMULATION), **LIKELY
    ),
    "a classification with log probabilities": _chat(
        text=POSITIONS, **_formatted(VALUE_RANGES), logprobs=True, top_logprobs=5
    ),
    "every kind of schema": _chat(**_formatted(ANYTHING)),
    "a completion": _prompt(max_tokens=16),
    "a completion with log probabilities": _prompt(max_tokens=16, logprobs=5),
    "an echo": _prompt(max_tokens=0, echo=True, logprobs=15),
    "an echo with a token more": _prompt(max_tokens=1, echo=True, logprobs=11, temperature=0),
    "log probabilities of a prompt": _prompt(max_tokens=1, prompt_logprobs=15),
    "several answers": _chat(n=2),
    "a stream": _chat(stream=True),
    "another model": (CHAT, {**_chat()[1], "model": "gpt-4"}),
    "a schema that cannot be filled": _chat(**_formatted({"type": "object", "oneOf": []})),
    "no schema": _chat(response_format={"type": "json_schema"}),
    "no such path": ("/v1/nowhere", {}),
}
NUMBERED = {f"question {number}": _chat(max_tokens=60, top_p=number) for number in range(40)}
SIMULATED = {
    f"simulation {number}": _chat(text=POSITIONS, **_formatted(SIMULATION), top_p=number)
    for number in range(40)
}
EVERY_TRANSPORT_FAULT = FaultRates(
    rate_limit=0.15, rate_limit_bare=0.15, server_error=0.3, drop=0.1
)
EVERY_CONTENT_FAULT = FaultRates(
    malformed=0.2, truncated=0.1, refusal=0.1, empty=0.1, position_missing=0.2, position_added=0.1
)
LACKING = Capabilities(
    without=frozenset({"echo", "prompt_logprobs", "json_schema", "batches"}), max_logprobs=5
)
SERVERS = {
    "as it is": ({}, ASKED),
    "of another seed": ({"seed": 7}, ASKED),
    "with faults on the way": ({"faults": EVERY_TRANSPORT_FAULT, "seed": 1}, NUMBERED),
    "with spoilt explanations": ({"faults": EVERY_CONTENT_FAULT}, NUMBERED),
    "with spoilt simulations": ({"faults": EVERY_CONTENT_FAULT}, SIMULATED),
    "without much": ({"capabilities": LACKING}, ASKED),
    "that reasons": ({"capabilities": Capabilities(reasoning=True)}, ASKED),
    "without credit": ({"credit_usd": 0.00005}, ASKED),
    "with a key": ({"api_key": "sk-golden"}, {"an explanation": _chat()}),
    "with a limit of requests": ({"requests_per_minute": 1}, dict(list(NUMBERED.items())[:3])),
    "with a limit of tokens": (
        {"tokens_per_minute": 60},
        {name: ASKED[name] for name in ("an explanation", "one token")},
    ),
}
OURS = ("server", "content-type", "x-request-id", "retry-after", "x-ratelimit-")
CLOCKED = ("x-ratelimit-reset-", "x-ratelimit-remaining-", "retry-after")  # by when it is asked
PARTS = 1500  # characters of a body that is pinned as it is


@pytest.mark.parametrize("kind", SERVERS)
def test_requests_get_the_bytes_that_they_got(kind, pinned):
    options, asked = SERVERS[kind]
    with (
        RehearsalServer(RehearsalOptions(**options)) as server,
        httpx.Client(base_url=server.base_url.removesuffix("/v1")) as client,
    ):
        found = {name: _answer(client, *question) for name, question in asked.items()}
        found["stats"] = {**client.get("/rehearsal/stats").json(), "max_requests_per_second": 0}
        found["models"] = _said(client.get("/v1/models"))
    pinned.check(f"rehearsal/{kind.replace(' ', '-')}.json", found)


def _answer(client, path, body):
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    try:
        return _said(client.post(path, content=content))
    except httpx.RemoteProtocolError:
        return "hung up"


def _said(response):
    """Return status, our headers and the body; what the clock says in them is left out."""
    headers = {
        name: "by the clock" if name.startswith(CLOCKED) and _is_clocked(response) else value
        for name, value in response.headers.items()
        if name.startswith(OURS)
    }
    text = re.sub(r"try again in \d+ ms", "try again in N ms", response.text)
    return {"status": response.status_code, "headers": headers, "body": _parts(text)}


def _is_clocked(response):
    return "x-ratelimit-limit-requests" in response.headers or (
        "x-ratelimit-limit-tokens" in response.headers
    )


def _parts(text):
    """Return a text, or what tells it from others if it is long."""
    if len(text) <= PARTS:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"sha256": digest, "characters": len(text), "beginning": text[:PARTS]}


def test_other_pages_are_what_they_were(pinned):
    with (
        RehearsalServer(RehearsalOptions(models=("one", "two"))) as server,
        httpx.Client(base_url=server.base_url.removesuffix("/v1")) as client,
    ):
        paths = ("/", "/health", "/v1/models", "/v1/batches", "/v1/files/none", "/nowhere", CHAT)
        found = {path: _said(client.get(path)) for path in paths}
    pinned.check("rehearsal/pages.json", found)


BATCHES = {
    "whole": {},
    "with lines that fail": {"line_failures": 0.3},
    "that expires": {"expiries": 1},
    "of too many lines": {"max_lines": 3},
    "of too many tokens": {"max_enqueued_tokens": 10},
}


def test_batches_leave_the_files_that_they_left(pinned):
    pinned.check("rehearsal/batches.json", {name: _batch(**BATCHES[name]) for name in BATCHES})


def _batch(**options):
    questions = {**ASKED, **NUMBERED}
    lines = [
        {"custom_id": name, "method": "POST", "url": path, "body": body}
        for name, (path, body) in questions.items()
        if path == CHAT
    ]
    content = "\n".join(json.dumps(line) for line in lines).encode()
    batches = BatchOptions(seconds=0.0, **options)
    with (
        RehearsalServer(RehearsalOptions(batches=batches)) as server,
        httpx.Client(base_url=server.base_url) as client,
    ):
        form = {"data": {"purpose": "batch"}, "files": {"file": ("lines.jsonl", content)}}
        uploaded = client.post("/files", **form).json()
        asked = {"input_file_id": uploaded["id"], "endpoint": CHAT, "completion_window": "24h"}
        created = client.post("/batches", json={**asked, "metadata": {"ours": "1"}}).json()
        ended = _ended(client, created["id"])
        files = {
            kind: _parts(client.get(f"/files/{ended[f'{kind}_file_id']}/content").text)
            for kind in ("output", "error")
            if ended[f"{kind}_file_id"]
        }
        later = [client.get("/batches"), client.delete(f"/files/{uploaded['id']}")]
        later.append(client.post(f"/batches/{ended['id']}/cancel"))
    return {
        "uploaded": _timeless(uploaded),
        "created": _timeless(created),
        "ended": _timeless(ended),
        "files": files,
        "later": [_timeless(response.json()) for response in later],
    }


def _ended(client, batch_id):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        batch = client.get(f"/batches/{batch_id}").json()
        if batch["status"] in ("completed", "failed", "expired", "cancelled"):
            return batch
        time.sleep(0.02)
    raise AssertionError(f"the batch does not end: {batch}")


def _timeless(value):
    """Return a value in which times only say whether there is one."""
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: "a time" if key.endswith("_at") and item is not None else _timeless(item)
        for key, item in value.items()
    }
