"""A real browser for the console (run: pytest -o addopts= tests/browser): any complaint of it fails the test.

The system's Chromium with a fresh profile each time. With SCREENSHOTS=folder every page is also kept as pictures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="pip install -r requirements-browser.txt")
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Playwright's synchronous API keeps an event loop in this thread; the database calls of a test beside it are safe.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

WATCH_POLICY = """
addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.violatedDirective} refused ${event.blockedURI || "inline"} ${event.sourceFile || ""}`);
});
"""


@pytest.fixture
def guarded() -> bool:
    """Whether the site's policy holds in the browser, as it does for everyone; axe paints its own styles to measure."""
    return True


@pytest.fixture
def page(tmp_path: Path, guarded: bool) -> Iterator[playwright.Page]:
    """A page that fails its test when the console of the browser has an error or the policy was broken."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    complaints: list[str] = []
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch_persistent_context(
            str(tmp_path / "profile"),
            executable_path=str(CHROMIUM),
            headless=True,
            args=list(QUIET),
            bypass_csp=not guarded,
        )
        browser.grant_permissions(["clipboard-read", "clipboard-write"])
        browser.add_init_script(WATCH_POLICY)
        page = browser.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        browser.close()
    assert complaints == []


@pytest.fixture
def shoot(page: playwright.Page) -> Iterator[Shoot]:
    yield Shoot(page, os.environ.get("SCREENSHOTS", ""))


class Shoot:
    """Pictures of a page, light and dark, wide and narrow, in the folder SCREENSHOTS; none without it."""

    def __init__(self, page: playwright.Page, folder: str) -> None:
        self.page, self.folder = page, folder

    def __call__(self, name: str) -> None:
        """Also checks that the page fits: nothing but a table of its own scrolls sideways."""
        for width in (1280, 360):
            self.page.set_viewport_size({"width": width, "height": 900})
            assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)
            for scheme in ("light", "dark") if self.folder else ():
                self.page.emulate_media(color_scheme=scheme)
                self.page.wait_for_timeout(300)  # the admin's colours fade
                self.page.screenshot(path=f"{self.folder}/{name}-{width}-{scheme}.png", full_page=True)
        self.page.set_viewport_size({"width": 1280, "height": 900})
