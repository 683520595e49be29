"""Whether slides can be read: each is looked at in a real browser, at 1280 x 720 pixels.

What is a fault: words outside the slide or the box that they are in, words over other words, words of
less than 20 pixels, a picture that is not there. Each slide is also saved as a PNG.
"""

import os
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, sync_playwright

WIDTH, HEIGHT = 1280, 720
LEAST_PIXELS: Final = 20  # a thirty-sixth of the height: legible from three metres on a projector
EDGE: Final = 12  # pixels that stay empty at each side of a slide
TIMEOUT_MS = 30_000

_FAULTS = Path(__file__).with_name("faults.js").read_text(encoding="utf-8")


def look(html: Path, chromium: str, pictures: Path) -> list[list[str]]:
    """The faults of each slide of Marp's ``html``; its PNGs are ``pictures``/01.png and so on."""
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.glob("*.png"):
        old.unlink()
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        try:
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.set_default_timeout(TIMEOUT_MS)
            page.goto(html.resolve().as_uri())
            page.evaluate("document.fonts.ready")
            count = page.locator("svg[data-marpit-svg]").count()
            return [_slide(page, n, pictures / f"{n:02}.png") for n in range(1, count + 1)]
        finally:
            browser.close()


def _slide(page: Page, number: int, picture: Path) -> list[str]:
    page.evaluate("n => { location.hash = `#${n}` }", number)
    page.wait_for_selector(f"svg.bespoke-marp-active section[id='{number}']")
    faults: list[str] = page.evaluate(_FAULTS, [LEAST_PIXELS, EDGE])
    page.screenshot(path=picture, animations="disabled")
    return faults
