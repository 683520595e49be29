"""The check that slides can be read finds what cannot: run by ``./run slides``, in its browser."""

import shutil
from pathlib import Path

import pytest

from slides import legibility

PAGE = """<style>body { margin: 0 } section { width: 1280px; height: 720px; position: relative;
font: 30px sans-serif } section > * { position: absolute; margin: 0 }</style>
<svg data-marpit-svg="" class="bespoke-marp-active" viewBox="0 0 1280 720" width="1280" height="720">
<foreignObject width="1280" height="720"><section id="1">%s</section></foreignObject></svg>"""

GOOD = '<p style="left: 64px; top: 60px">legible words</p>'


def faults(tmp_path: Path, body: str) -> list[str]:
    page = tmp_path / "slides.html"
    page.write_text(PAGE % body, encoding="utf-8")
    (found,) = legibility.look(page, str(shutil.which("chromium")), tmp_path / "png")
    assert (tmp_path / "png" / "01.png").exists()
    return found


FAULTS = {
    "outside the slide: far": '<p style="left: 1250px; top: 60px">far</p>',
    "outside the slide: too low": '<p style="left: 64px; top: 700px">too low</p>',
    "19.0 pixels are too small": '<p style="left: 64px; top: 60px; font-size: 19px">small</p>',
    "15.0 pixels are too small": '<svg viewBox="0 0 1152 400" width="576">'
    '<text x="40" y="90" font-size="30">half</text></svg>',
    "words meet": GOOD + '<p style="left: 80px; top: 64px">on top of them</p>',
    "beyond its box": '<svg viewBox="0 0 1152 400" width="1152"><rect x="20" y="20" width="90" '
    'height="60" rx="8"/><text x="30" y="60" font-size="30">too long for it</text></svg>',
    "no picture: a map": '<img src="nowhere.png" alt="a map">',
}


def test_it_lets_pass_what_is_legible(tmp_path: Path) -> None:
    assert faults(tmp_path, GOOD) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_it_finds(tmp_path: Path, fault: str) -> None:
    found = faults(tmp_path, FAULTS[fault])
    assert any(each.startswith(fault) for each in found), found
