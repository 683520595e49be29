"""What the page embeds: it is what its source and the pinned packages give, byte by byte."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WEB = ROOT / "processor/report/web"
BUILT = ROOT / "processor/report/built"


@pytest.mark.browser
def test_a_build_gives_what_is_committed(tmp_path: Path) -> None:
    subprocess.run([ROOT / "run", "page", tmp_path], check=True, timeout=300)
    for name in ("page.js", "page.css", "LICENCES.txt"):
        assert (tmp_path / name).read_bytes() == (BUILT / name).read_bytes(), "./run page"
    assert {each.name for each in tmp_path.iterdir()} == {each.name for each in BUILT.iterdir()}


def test_it_is_ascii_that_ends_no_element() -> None:
    for name in ("page.js", "page.css"):
        text = (BUILT / name).read_text(encoding="ascii").lower()
        assert "</script" not in text
        assert "</style" not in text
        assert "<!--" not in text
        assert "\r" not in text


def test_the_script_makes_no_html_and_runs_no_text() -> None:
    for path in (WEB / "source").glob("*.js"):
        text = path.read_text(encoding="utf-8")
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "eval(",
            "new Function",
            "document.write",
        ):
            assert word not in text, path.name


def test_every_package_is_pinned_and_its_source_unnamed() -> None:
    wanted = json.loads((WEB / "package.json").read_bytes())
    for version in (wanted["dependencies"] | wanted["devDependencies"]).values():
        assert version[0].isdigit()
    locked = json.loads((WEB / "package-lock.json").read_bytes())["packages"]
    assert all("integrity" in each for name, each in locked.items() if name)
    assert not any("resolved" in each for each in locked.values())
