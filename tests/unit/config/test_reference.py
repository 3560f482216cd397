"""The page of all configuration keys is that of the code."""

from pathlib import Path

from neurogloss.config.reference import reference
from neurogloss.config.run import RunConfig

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_written_from_this_code():
    assert PAGE.read_text(encoding="utf-8") == reference(), "write it again: make docs"


def test_every_key_is_on_the_page():
    lines = reference().splitlines()
    schema = RunConfig.model_json_schema()
    for table in schema["$defs"].values():
        for key, value in table["properties"].items():
            is_table = "$ref" in value or "patternProperties" in value
            assert is_table or any(line.startswith(f"| `{key}` |") for line in lines), key


def test_values_have_their_range_and_what_has_no_default_is_required():
    page = reference()
    assert "| `excerpt_tokens` | whole number, from 2 to 1,024 | `64` |" in page
    assert "| `base_url` | text | *required* |" in page
    assert "`[endpoints.NAME.prices.MODEL]`" in page
