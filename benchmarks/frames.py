"""Frames a second of the report's map in a headless chromium without a GPU, and of its peer, WebGL2.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from playwright.sync_api import Playwright, sync_playwright

from benchmarks.harness import command
from benchmarks.harness.command import Result, short
from benchmarks.harness.errors import BenchError
from processor.report.page import page
from processor.report.points import NEIGHBOURS, Points
from processor.report.summary import Summary

LABELS = 28
WINDOW = {"width": 1366, "height": 860}
WITHOUT_GPU = ("--disable-gpu", "--disable-3d-apis")
BY_PROCESSOR = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
# WebGL2 as of a GPU: the page would not take it if it could read the renderer's name.
NAMELESS = """
  const get = WebGL2RenderingContext.prototype.getExtension;
  WebGL2RenderingContext.prototype.getExtension = function (name) {
    return name === "WEBGL_debug_renderer_info" ? null : get.call(this, name);
  };
"""
# Turns the wheel once a frame; the times at which frames began, and what script took of each.
TURN = """seconds => new Promise((done) => {
  const map = document.querySelector(".map");
  const { x, y } = map.getBoundingClientRect();
  const request = window.requestAnimationFrame.bind(window);
  const [began, script] = [[], []];
  window.requestAnimationFrame = (draw) => request((now) => {
    const before = performance.now();
    draw(now);
    script.push(performance.now() - before);
    began.push(now);
  });
  const end = performance.now() + 1000 * seconds;
  const turn = (turns) => {
    const deltaY = turns % 40 < 20 ? 12 : -12;
    const place = { clientX: x + 300, clientY: y + 200, bubbles: true, cancelable: true };
    map.dispatchEvent(new WheelEvent("wheel", { deltaY, ...place }));
    if (performance.now() < end) request(() => turn(turns + 1));
    else done([began, script]);
  };
  turn(0);
})"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    path = shutil.which("chromium")
    if path is None:
        raise BenchError("there is no chromium: apt-get install chromium")
    runs: dict[str, dict[str, float | str]] = {}
    with sync_playwright() as playwright:
        for count in options.photos:
            file = scratch / "report.html"
            file.write_text(page(_summary(count), _points(count)), encoding="ascii")
            for name, webgl in (("page", False), ("webgl2_by_processor", True)):
                run = _run(playwright, path, file, options.seconds, webgl=webgl)
                runs[f"{name}_{short(count)}"] = run
                print(
                    f"{count:>9,} photos, {name:20}{run['frames_per_s']:>6} frames/s  "
                    f"script {run['script_ms']} ms, 95 %: {run['script_95_ms']} ms",
                    flush=True,
                )
    of = short(options.photos[-1])
    ours, peer = (runs[f"{name}_{of}"]["frames_per_s"] for name in ("page", "webgl2_by_processor"))
    return {f"over_webgl2_{of}": round(float(ours) / float(peer), 2), "runs": runs}


def _run(
    playwright: Playwright, path: str, file: Path, seconds: float, *, webgl: bool
) -> dict[str, float | str]:
    arguments = ["--no-sandbox", *(BY_PROCESSOR if webgl else WITHOUT_GPU)]
    browser = playwright.chromium.launch(executable_path=path, args=arguments)
    try:
        it = browser.new_page(viewport=WINDOW)  # type: ignore[arg-type]
        if webgl:
            it.add_init_script(NAMELESS)
        it.goto(file.as_uri())
        it.wait_for_selector(".explorer")
        it.evaluate(TURN, 1)  # until all is compiled
        began, script = it.evaluate(TURN, seconds)
        drawn_by = it.locator(".map").get_attribute("data-drawn-by") or ""
    finally:
        browser.close()
    if len(began) < 2:
        raise BenchError("no frame was drawn: take more --seconds")
    return {
        "drawn_by": drawn_by,
        "frames_per_s": round(1000 * (len(began) - 1) / (began[-1] - began[0]), 1),
        "script_ms": round(float(np.median(script)), 1),
        "script_95_ms": round(float(np.quantile(script, 0.95)), 1),
    }


def _points(count: int) -> Points:
    """Normally distributed around the middle of their label; without thumbnails."""
    random = np.random.default_rng(0)
    labels = random.integers(LABELS, size=count)
    middles = 10 * random.standard_normal((LABELS, 2))
    xy = middles[labels] + 4 * random.standard_normal((count, 2))
    return Points(
        [f"photos/{label}/{number}.jpg" for number, label in enumerate(labels)],
        [str(label) for label in labels],
        xy.astype(np.float32),
        random.integers(count, size=(count, NEIGHBOURS), dtype=np.int32),
        random.uniform(0.8, 1, (count, NEIGHBOURS)).astype(np.float32),
        [b""] * count,
        count,
    )


def _summary(count: int) -> Summary:
    return Summary(
        at=datetime.now(UTC),
        bucket="drawn-points",
        photos=count,
        labels=[(str(label), count // LABELS) for label in range(LABELS)],
        kinds=LABELS,
        rejects=[],
        pending=[],
        stored=[],
        explained_variance=[0.5, 0.3],
        captured=None,
        fits=[],
        network="none",
        versions={},
    )


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("frames", __doc__, "It needs chromium (apt-get install chromium).")
    parser.add_argument(
        "--photos",
        type=command.wholes(100),
        default=[1_142, 50_000],
        metavar="N,…",
        help="photos on the map (default: 1142,50000)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=4.0,
        metavar="N",
        help="of each run (default: %(default)g)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
