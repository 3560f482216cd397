"""Links between pages lead somewhere, and the site has every page."""

import re

import pytest
import yaml

from tests.support.documents import PAGES, ROOT

LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
ELSEWHERE = {"changelog.md", "chaos.md", "contributing.md", "deploy.md", "measured-gpu.md"}
ELSEWHERE |= {"measured.md"}


def anchors(text):
    """Return what the headings of a page are called in addresses, by GitHub and the site."""
    return {
        re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-")
        for heading in HEADING.findall(BLOCK.sub("", text))
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    lost = []
    for target, anchor in LINK.findall(BLOCK.sub("", text)):
        file = page.parent / target if target else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text("utf-8"))):
            lost.append(f"{target}#{anchor}")
    assert lost == []


def test_every_page_is_in_the_navigation():
    sections = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = [page for section in sections for pages in section.values() for page in pages]
    written = {page.name for page in ROOT.glob("docs/*.md")}
    assert len(named) == len(set(named))
    assert set(named) == written | ELSEWHERE
