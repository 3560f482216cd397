"""A page of a browser whose requests and errors are kept, and judged at the end."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

WCAG_AA = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
SCREENSHOTS = Path(os.environ.get("NEUROGLOSS_SCREENSHOTS", "test-results/screenshots"))


class WatchedPage:
    """A page, with what it asked for and what went wrong on it.

    Attributes:
        page: Playwright's page.
        errors: What the console complained of, and exceptions of scripts.
        hosts: Who was asked for something.
    """

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _asked(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme != "data":
            self.hosts.add(parts.netloc)

    def open(self, path: str) -> Page:
        """Go to a page of the server, which must be there."""
        answer = self.page.goto(self.address + path)
        assert answer is not None and answer.ok, f"{path}: {answer and answer.status}"
        return self.page

    def keep(self, name: str) -> Path:
        """Keep a picture of the whole page, for people to look at."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def violations(self) -> list[str]:
        """Return what axe-core finds against WCAG AA, one line for each kind."""
        rules = {"runOnly": {"type": "tag", "values": WCAG_AA}}
        found = Axe().run(self.page, options=rules).response["violations"]
        return [f"{v['id']}: {v['help']}: {v['nodes'][0]['html'][:200]}" for v in found]

    def overflow(self) -> int:
        """Return by how many CSS pixels the page is wider than its window."""
        width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(width))


@contextmanager
def watched(browser: Browser, address: str, **options: Any) -> Iterator[WatchedPage]:
    """Open a page; at the end, nothing may have gone wrong on it or left this machine."""
    # The pages' own policy forbids the tool that looks for violations.
    context = browser.new_context(bypass_csp=False, **options)
    page = WatchedPage(context.new_page(), address)
    yield page
    context.close()
    assert page.errors == []
    assert page.hosts <= {urlsplit(address).netloc}
