"""Fixtures of the page's tests: a headless chromium in which nothing may go wrong unseen."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from processor.report.page import page
from processor.report.points import Points
from processor.report.summary import Summary

ARGUMENTS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
WITHOUT_WEBGL = ("--no-sandbox", "--disable-gpu", "--disable-3d-apis")
# Hides the renderer's name, so that the page takes WebGL that a processor draws for that of a GPU.
AS_BY_GPU = """
  const get = WebGL2RenderingContext.prototype.getExtension;
  WebGL2RenderingContext.prototype.getExtension = function (name) {
    return name === "WEBGL_debug_renderer_info" ? null : get.call(this, name);
  };
"""

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[[tuple[str, ...]], Browser]]:
    """Chromium with these arguments, started once for each."""
    started: dict[tuple[str, ...], Browser] = {}
    with sync_playwright() as playwright:

        def launched(arguments: tuple[str, ...]) -> Browser:
            if arguments not in started:
                path = shutil.which("chromium")
                assert path, "apt-get install chromium"
                started[arguments] = playwright.chromium.launch(
                    executable_path=path, args=list(arguments)
                )
            return started[arguments]

        yield launched
        for browser in started.values():
            browser.close()


@pytest.fixture
def opened(launch: Callable[[tuple[str, ...]], Browser], tmp_path: Path) -> Iterator[Open]:
    """Opens a page; in the end nothing was written to its console, requested, or asked of the user."""
    wrong: list[str] = []
    contexts = []

    def open_page(
        summary: Summary,
        points: Points,
        *,
        webgl: bool = True,
        gpu: bool = True,
        **options: Any,
    ) -> Page:
        file = tmp_path / f"{len(contexts)}.html"
        file.write_text(page(summary, points), encoding="utf-8")
        browser = launch(ARGUMENTS if webgl else WITHOUT_WEBGL)
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
        contexts.append(context)
        it = context.new_page()
        it.add_init_script(AS_BY_GPU if webgl and gpu else "")
        it.on("console", lambda said: wrong.append(f"{said.type}: {said.text}"))
        it.on("pageerror", lambda error: wrong.append(str(error)))
        it.on("dialog", lambda dialog: wrong.append(dialog.message))
        it.on(
            "request", lambda asked: wrong.append(asked.url) if asked.url != file.as_uri() else None
        )
        it.goto(file.as_uri())
        it.wait_for_selector(".explorer" if points.keys else ".unpacked .note")
        it.wait_for_timeout(150)  # a frame or two
        return it

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong
