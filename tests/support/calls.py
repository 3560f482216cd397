"""Questions and answers that tests of the call engine, the ledger and batches are about."""

from dataclasses import asdict, replace

from db.calls import StoredCall
from neurogloss.llm.calls import Answer, Call

ANSWER = Answer(
    identity=b"i" * 32,
    purpose="explain",
    endpoint="here",
    model="m",
    text="words",
    finish_reason="stop",
    refusal=None,
    distributions=None,
    prompt_tokens=10,
    cached_tokens=4,
    completion_tokens=2,
    usd=0.5,
    wasted_usd=0.25,
    attempts=1,
    latency_ms=30,
    request_id="first",
)


def answer(number):
    """An answer to a question of its own, for 1 USD."""
    return replace(ANSWER, identity=bytes([number]) * 32, usd=1.0, wasted_usd=0.0)


def call_row(run_id, answer):
    """Return the row of the table of calls that holds an answer."""
    values = asdict(answer)
    del values["reused"]
    return StoredCall(run_id=run_id, **values)


def questions(count, **body):
    """Questions that differ by a number."""
    return [
        Call(
            purpose="explain",
            model="rehearsal",
            body={
                "model": "rehearsal",
                "messages": [{"role": "user", "content": f"question {number}\n a\t3"}],
                "max_tokens": 60,
                **body,
            },
        )
        for number in range(count)
    ]
