"""Commands of neurogloss, run in the process of a test."""

from collections.abc import Sequence

import pytest

from orchestrator.cli.main import main


def run_in_process(
    capsys: pytest.CaptureFixture[str], arguments: Sequence[str]
) -> tuple[object, str]:
    """Run a command; return its exit code, and what it wrote to both streams."""
    code: object = 0
    try:
        main(arguments)
    except SystemExit as error:
        code = error.code
    captured = capsys.readouterr()
    return code, captured.out + captured.err
