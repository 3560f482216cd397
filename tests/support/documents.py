"""What the pages of the repository quote: blocks of code by language, and the commands in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "deploy/README.md"],
    key=lambda page: page.relative_to(ROOT).as_posix(),
)
_BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s+#(?= ).*$")
_INLINE = re.compile(r"(?<!`)`(?!`)([^`\n]+)`(?!`)")


@dataclass(frozen=True, slots=True)
class Quoted:
    """A piece of code in a page of the repository; `line` is where its block begins, from 1."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*languages: str) -> list[Quoted]:
    """Return all blocks of these languages, without the indentation of a tab or list."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in _BLOCK.finditer(text):
            indent, language, body = block.groups()
            if language in languages:
                lines = (line.removeprefix(indent) for line in body.splitlines())
                at = text.count("\n", 0, block.start()) + 1
                found.append(Quoted(_name(page), at, "\n".join(lines)))
    return found


def commands() -> list[Quoted]:
    """Return every command: lines after `$ ` of console blocks, all lines of others."""
    shown = [(block, line) for block in blocks("console") for line in _typed(block.text)]
    whole = [(block, line) for block in blocks("sh", "bash") for line in _joined(block.text)]
    return [Quoted(block.page, block.line, line) for block, line in shown + whole]


def inline_commands() -> list[Quoted]:
    """Return what stands in the text as code and begins with `neurogloss `."""
    return [
        Quoted(_name(page), number, code)
        for page in PAGES
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        for code in _INLINE.findall(line)
        if code.startswith("neurogloss ")
    ]


def _typed(text: str) -> Iterator[str]:
    lines = _lines(text)
    return (line.removeprefix("$ ") for line in lines if line.startswith("$ "))


def _joined(text: str) -> Iterator[str]:
    """Yield commands of a script; what begins with spaces belongs to the line before."""
    command = ""
    for line in _lines(text):
        if command and not line.startswith(" "):
            yield command
            command = ""
        command = f"{command} {line.strip()}".strip()
    if command:
        yield command


def _lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            yield _COMMENT.sub("", line).rstrip()


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()
