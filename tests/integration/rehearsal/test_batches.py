import json
import time

import httpx
import pytest

from rehearsal.capabilities import Capabilities
from rehearsal.faults import FaultRates
from rehearsal.options import BatchOptions, RehearsalOptions
from rehearsal.server import RehearsalServer

PATH = "/v1/chat/completions"


@pytest.fixture
def start():
    """Starts a server whose batches have the given options; returns (server, client)."""
    started = []

    def start(*, seconds=0.0, rehearsal=None, **batches):
        options = RehearsalOptions(
            batches=BatchOptions(seconds=seconds, **batches), **(rehearsal or {})
        )
        server = RehearsalServer(options).__enter__()
        started.append((server, client := httpx.Client(base_url=server.base_url)))
        return server, client

    yield start
    for server, client in started:
        client.close()
        server.__exit__(None, None, None)


def body(number):
    return {"model": "rehearsal", "messages": [{"role": "user", "content": f" sea\t{number % 11}"}],
            "max_tokens": 60, "top_p": number}  # fmt: skip


def lines(count):
    return [
        {"custom_id": f"q{number}", "method": "POST", "url": PATH, "body": body(number)}
        for number in range(count)
    ]


def upload(client, rows, purpose="batch"):
    content = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    files = {"file": ("questions.jsonl", content.encode())}
    return client.post("/files", data={"purpose": purpose}, files=files)


def create(client, rows, **more):
    file_id = upload(client, rows).raise_for_status().json()["id"]
    asked = {"input_file_id": file_id, "endpoint": PATH, "completion_window": "24h", **more}
    return client.post("/batches", json=asked).raise_for_status().json()


def ended(client, batch):
    deadline = time.monotonic() + 30
    while batch["status"] not in {"completed", "failed", "expired", "cancelled"}:
        assert time.monotonic() < deadline, batch
        time.sleep(0.02)
        batch = client.get(f"/batches/{batch['id']}").raise_for_status().json()
    return batch


def results(client, file_id):
    if file_id is None:
        return []
    text = client.get(f"/files/{file_id}/content").raise_for_status().text
    return [json.loads(line) for line in text.splitlines()]


def test_batch_has_the_answers_that_questions_one_by_one_have_for_half_the_price(start):
    batch_server, batch_client = start()
    server, client = start()
    batch = ended(batch_client, create(batch_client, lines(120), metadata={"ours": "1"}))
    assert (batch["status"], batch["metadata"]) == ("completed", {"ours": "1"})
    assert batch["request_counts"] == {"total": 120, "completed": 120, "failed": 0}
    rows = results(batch_client, batch["output_file_id"])
    assert [row["custom_id"] for row in rows] != [f"q{number}" for number in range(120)]
    answers = {row["custom_id"]: row["response"]["body"] for row in rows}
    headers = {"Content-Type": "application/json"}
    for number in range(120):
        text = json.dumps(body(number), separators=(",", ":"), ensure_ascii=False)
        reply = client.post("/chat/completions", content=text.encode(), headers=headers)
        assert reply.json() == answers[f"q{number}"]
    assert batch_server.stats()["usd"] == pytest.approx(server.stats()["usd"] / 2)
    assert (batch_server.stats()["batches"], batch_server.stats()["batch_lines"]) == (1, 120)


def test_states_of_a_batch_come_in_order_with_their_times(start):
    _, client = start(seconds=1.0)
    batch, seen = create(client, lines(40)), []
    while batch["status"] != "completed":
        seen.append(batch["status"])
        batch = client.get(f"/batches/{batch['id']}").json()
    assert list(dict.fromkeys(seen))[:2] == ["validating", "in_progress"]
    assert batch["created_at"] <= batch["in_progress_at"] <= batch["completed_at"]
    assert batch["failed_at"] is batch["expired_at"] is None


def test_lines_that_fail_are_in_the_error_file_and_pass_when_sent_again(start):
    server, client = start(line_failures=0.3)
    rows = [*lines(100), {**lines(1)[0], "custom_id": "bad", "body": {"model": "rehearsal"}}]
    batch = ended(client, create(client, rows))
    assert batch["status"] == "completed"
    errors = results(client, batch["error_file_id"])
    statuses = {row["custom_id"]: row["response"]["status_code"] for row in errors}
    assert statuses.pop("bad") == 400
    assert 15 < len(statuses) < 45
    assert set(statuses.values()) <= {429, 500, 502, 503}
    assert len(results(client, batch["output_file_id"])) == 100 - len(statuses)
    for _ in range(10):
        rows = [row for row in rows if row["custom_id"] in statuses]
        if not rows:
            break
        again = ended(client, create(client, rows))
        statuses = {row["custom_id"]: 0 for row in results(client, again["error_file_id"])}
    assert not rows
    assert server.stats()["repeated_questions"] == 0


def test_expired_batch_gives_and_charges_what_was_answered(start):
    server, client = start(expiries=1)
    batch = ended(client, create(client, lines(10)))
    assert (batch["status"], batch["request_counts"]["completed"]) == ("expired", 5)
    rest = results(client, batch["error_file_id"])
    assert {row["error"]["code"] for row in rest} == {"batch_expired"}
    assert all(row["response"] is None for row in rest)
    assert len(results(client, batch["output_file_id"])) == len(rest) == 5
    assert server.stats()["answered"] == 5
    assert ended(client, create(client, lines(10)))["status"] == "completed"


def test_cancelled_batch_keeps_what_was_answered(start):
    _, client = start(seconds=60)
    batch = create(client, lines(3))
    assert client.post(f"/batches/{batch['id']}/cancel").json()["status"] == "cancelling"
    assert ended(client, batch)["status"] == "cancelled"
    assert client.post(f"/batches/{batch['id']}/cancel").status_code == 409


def test_batch_over_the_enqueued_tokens_fails_after_its_creation_and_fits_later(start):
    server, client = start(seconds=1.0, max_enqueued_tokens=1500)
    first = create(client, lines(100))
    while client.get(f"/batches/{first['id']}").json()["status"] == "validating":
        time.sleep(0.02)
    second = ended(client, create(client, lines(100)))
    assert (second["status"], second["request_counts"]["total"]) == ("failed", 0)
    assert second["errors"]["data"][0]["code"] == "token_limit_exceeded"
    assert ended(client, first)["status"] == "completed"
    assert ended(client, create(client, lines(100)))["status"] == "completed"
    assert server.stats()["batches"] == 3


@pytest.mark.parametrize(
    ("rows", "code", "line"),
    [
        pytest.param(["{"], "invalid_json_line", 1, id="not JSON"),
        pytest.param([*lines(2), {"custom_id": "x"}], "invalid_json_line", 3, id="no body"),
        pytest.param([*lines(1), *lines(1)], "duplicate_custom_id", 2, id="custom_id twice"),
        pytest.param([{**lines(1)[0], "url": "/v1/x"}], "invalid_url", 1, id="another path"),
        pytest.param(
            [*lines(1), {**lines(2)[1], "body": {"model": "other"}}],
            "mismatched_model",
            2,
            id="two models",
        ),
        pytest.param(lines(21), "too_many_requests", None, id="too many lines"),
        pytest.param([""], "empty_file", None, id="nothing"),
    ],
)
def test_file_that_is_no_batch_fails_as_a_whole(start, rows, code, line):
    _, client = start(max_lines=20)
    batch = ended(client, create(client, rows))
    assert batch["status"] == "failed"
    error = batch["errors"]["data"][0]
    assert (error["code"], error["line"]) == (code, line)
    assert batch["output_file_id"] is batch["error_file_id"] is None


def test_batches_are_listed_by_page_newest_first(start):
    _, client = start()
    made = [create(client, lines(1), metadata={"n": str(number)})["id"] for number in range(5)]
    first = client.get("/batches", params={"limit": 3}).json()
    rest = client.get("/batches", params={"limit": 3, "after": first["last_id"]}).json()
    assert [batch["id"] for batch in first["data"] + rest["data"]] == made[::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert rest["data"][-1]["metadata"] == {"n": "0"}
    assert client.get("/batches", params={"limit": 0}).status_code == 400


def test_files_can_be_looked_at_and_deleted(start):
    _, client = start(max_bytes=2000)
    file = upload(client, lines(1)).json()
    assert (file["purpose"], file["filename"]) == ("batch", "questions.jsonl")
    assert client.get(f"/files/{file['id']}").json() == file
    assert len(client.get(f"/files/{file['id']}/content").content) == file["bytes"]
    assert client.delete(f"/files/{file['id']}").json()["deleted"]
    assert client.get(f"/files/{file['id']}").status_code == 404
    assert client.delete(f"/files/{file['id']}").status_code == 404
    assert upload(client, lines(1), purpose="answers").status_code == 400
    assert upload(client, lines(100)).status_code == 413
    assert client.post("/files", json={}).status_code == 400


def test_impossible_batch_is_refused_at_once(start):
    _, client = start()
    file_id = upload(client, lines(1)).json()["id"]
    good = {"input_file_id": file_id, "endpoint": PATH, "completion_window": "24h"}
    for wrong, status in (
        ({"input_file_id": "file-none"}, 404),
        ({"endpoint": "/v1/embeddings"}, 400),
        ({"completion_window": "1h"}, 400),
        ({"metadata": {"a": 1}}, 400),
    ):
        assert client.post("/batches", json={**good, **wrong}).status_code == status
    assert client.get("/batches/batch_none").status_code == 404


def test_batches_need_the_key_and_can_be_missing(start):
    _, keyed = start(rehearsal={"api_key": "sk-right"})
    assert upload(keyed, lines(1)).status_code == keyed.get("/batches").status_code == 401
    without = Capabilities(without=frozenset({"batches"}))
    _, lacking = start(rehearsal={"capabilities": without})
    assert upload(lacking, lines(1)).status_code == lacking.get("/batches").status_code == 404


def test_spoilt_answers_are_in_the_output_file(start):
    server, client = start(rehearsal={"faults": FaultRates(refusal=1)})
    batch = ended(client, create(client, lines(2)))
    messages = [
        row["response"]["body"]["choices"][0]["message"]
        for row in results(client, batch["output_file_id"])
    ]
    assert [message["content"] for message in messages] == [None, None]
    assert server.stats()["faults"] == {"refusal": 2}
