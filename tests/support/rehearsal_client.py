"""Requests to a rehearsal server, and what is in its replies."""

NOTICE = "not a language model"
RECORD = " the\t0\n sea\t7\n .\t0"
SCHEMA = {
    "type": "object",
    "properties": {str(position): {"enum": list(range(11))} for position in range(64)},
    "required": [str(position) for position in range(64)],
    "additionalProperties": False,
}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "simulation", "schema": SCHEMA}}


def ask(client, text=RECORD, headers=None, **parameters):
    request = {"model": "rehearsal", "messages": [{"role": "user", "content": text}], **parameters}
    return client.post("/chat/completions", json=request, headers=headers)


def content(response):
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


def error(response):
    return response.json()["error"]
