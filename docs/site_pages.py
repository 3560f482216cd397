"""Pages of the site that lie elsewhere in the repository, and links as GitHub and the site do them.

mkdocs calls the functions by their names. Links are written for readers of the repository: those
to a file that is a page become links to the page, and those to other files only their text.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "deploy/README.md": "deploy.md",
    "benchmarks/README.md": "measured.md",
    "benchmarks/gpu/README.md": "measured-gpu.md",
    "tests/chaos/README.md": "chaos.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files of the repository, and their names in the site."""

PLACES = {page: file for file, page in ELSEWHERE.items()}
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?://|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie elsewhere."""
    for file, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / file)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Return the text of a page with its links as the site needs them."""
    uri = page.file.src_uri
    folder = posixpath.dirname(PLACES.get(uri, f"docs/{uri}"))
    return LINK.sub(lambda link: _in_the_site(link, folder), markdown)


def _in_the_site(link: re.Match[str], folder: str) -> str:
    text, target, anchor = link.groups()
    path = posixpath.normpath(posixpath.join(folder, target))
    if path in ELSEWHERE:
        return f"[{text}]({ELSEWHERE[path]}{anchor or ''})"
    if path.startswith("docs/"):
        return f"[{text}]({path.removeprefix('docs/')}{anchor or ''})"
    return text
