"""Comparing what the code does today with what it did when a golden file was written."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SHOWN = 5  # differences that a message names
LONGEST = 300  # characters of a value in a message


class Pinned:
    """The golden files; with `is_writing`, they are written instead of compared."""

    def __init__(self, *, is_writing: bool) -> None:
        self.is_writing = is_writing

    def read(self, name: str) -> Any:
        """Return what is pinned in a file."""
        return json.loads((HERE / name).read_text(encoding="utf-8"))

    def check(self, name: str, found: Any) -> None:
        """Fail where `found`, a JSON value, is not what a file says; name what differs."""
        path = HERE / name
        if self.is_writing:
            path.parent.mkdir(exist_ok=True)
            text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=True)
            path.write_text(f"{text}\n", encoding="utf-8")
            return
        found = json.loads(json.dumps(found))  # tuples are lists, keys are strings
        if lines := list(differences(self.read(name), found)):
            shown = "\n  ".join(lines[:SHOWN])
            pytest.fail(
                f"{len(lines)} differences from tests/golden/{name} (pinned -> found):\n  {shown}\n"
                "tests/golden/README.md says when a golden file may be written again",
                pytrace=False,
            )


def differences(pinned: Any, found: Any, where: str = "") -> Iterator[str]:
    """Yield a line for each place at which two JSON values differ."""
    if isinstance(pinned, dict) and isinstance(found, dict):
        for key in sorted(pinned.keys() | found.keys()):
            place = f"{where}.{key}" if where else key
            if key not in found:
                yield f"{place}: {_shown(pinned[key])} -> missing"
            elif key not in pinned:
                yield f"{place}: not pinned -> {_shown(found[key])}"
            else:
                yield from differences(pinned[key], found[key], place)
    elif isinstance(pinned, list) and isinstance(found, list):
        if len(pinned) != len(found):
            yield f"{where}: {len(pinned)} entries -> {len(found)} entries"
        for place, pair in enumerate(zip(pinned, found, strict=False)):
            yield from differences(*pair, f"{where}[{place}]")
    elif json.dumps(pinned) != json.dumps(
        found
    ):  # by which NaN is NaN, and 1 is neither 1.0 nor True
        yield f"{where}: {_shown(pinned)} -> {_shown(found)}"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ... ({len(text)} characters)"
