"""What models are asked: every word is part of a call's identity, and none of them changes."""

import hashlib
import json
from collections import defaultdict

from tests.golden.derived import RUNS
from tests.golden.project import (
    ActivationRecord,
    Call,
    Observed,
    illustration_body,
    revision_body,
    token_space_body,
)
from tests.golden.world import BASE_URL

HOSTILE = "line\nbreak\t\x1b[31m <start> \\n \"quoted\" 'twice' 🦀 \u2028<end>."
TOKENS = (" the", " cat", "\n", "\t", "<start>", "<end>", "\\", "🦀", "\u2028", "", '"', ",")
LOUD = ActivationRecord(TOKENS, (-0.125, 8.0, 0.0, 4.0, 0.75, 1.5, 0.0, 7.9375, 0.5, 0, 2, 16))
SPARSE = ActivationRecord(TOKENS[:6], (0.0, 0.0, 3.0, 0.0, 0.0, -0.0625))
SILENT = ActivationRecord(TOKENS[3:], (-0.125,) * 9)
OBSERVED = [
    Observed(record, is_expected=expected)
    for record in (LOUD, SPARSE, SILENT)
    for expected in (True, False)
]


def test_runs_on_given_records_ask_what_they_asked(derived, pinned):
    calls = derived.rows(
        "SELECT run.name AS run, purpose, encode(identity, 'hex') AS identity "
        "FROM call JOIN run ON run.id = call.run_id ORDER BY 1, 2, 3"
    )
    found = defaultdict(lambda: defaultdict(list))
    for call in calls:
        found[call["run"]][call["purpose"]].append(call["identity"])
    asked = {
        name: {
            "exit code": derived.outcomes[name][0],
            "calls": {purpose: _identities(some) for purpose, some in found[name].items()},
        }
        for name in RUNS
    }
    pinned.check("identities.json", asked)


def _identities(identities):
    """Return enough to name what differs, and a hash of the whole."""
    return {
        "n": len(identities),
        "sha256": hashlib.sha256("\n".join(identities).encode()).hexdigest(),
        "beginnings": " ".join(identity[:8] for identity in identities),
    }


def test_questions_that_need_the_subject_model_are_what_they_were(pinned):
    """A run asks them too, in test_backup.py, where its activations depend on the CPU."""
    bodies = {
        "token_space": token_space_body(TOKENS),
        "token_space, one token": token_space_body([" cat"]),
        "illustrate, 20": illustration_body("cats", 20, 64),
        "illustrate, 4": illustration_body(HOSTILE, 4, 2),
        "revise": revision_body("cats", [LOUD, SPARSE], OBSERVED),
        "revise, hostile": revision_body(HOSTILE, [SPARSE], OBSERVED[::-1]),
        "revise, nothing observed": revision_body("cats", [LOUD], []),
    }
    found = {
        name: {
            "sha256 of the body in order": hashlib.sha256(json.dumps(body).encode()).hexdigest(),
            "last message": body["messages"][-1]["content"],
            "identity": _call(name, body).identity(BASE_URL).hex(),
        }
        for name, body in bodies.items()
    }
    pinned.check("bodies.json", found)


def _call(purpose, body, **more):
    return Call(purpose, "a model", {"model": "a model", **body}, **more)


def test_what_can_change_an_answer_changes_the_identity_as_it_did(pinned):
    body = {"messages": [{"role": "user", "content": HOSTILE}], "temperature": 0.0}
    found = {
        "as it is": _call("explain", body),
        "of another purpose, which changes nothing": _call("simulate", body),
        "another path": _call("explain", body, path="/completions"),
        "sample 1": _call("explain", body, sample=1),
        "again": _call("explain", body, again=1),
        "both": _call("explain", body, sample=12, again=1),
        "another order": _call("explain", dict(reversed(body.items()))),
    }
    urls = (BASE_URL, f"{BASE_URL}/", "https://api.openai.com/v1")
    identities = {
        name: {url: call.identity(url).hex() for url in urls} for name, call in found.items()
    }
    pinned.check("identity.json", identities)
