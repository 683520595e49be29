"""The presentation: both languages show the same, and each figure is in a page that its slide cites."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
MOST_BYTES = 300_000  # of a committed picture
FIGURE = re.compile(r"(?<![\w.,-])\d+(?:\.\d+)?(?:e-\d+)?(?!\w)")
NAMES = re.compile(r"`[^`]*`|\(\S+\)|<!-- _\w+:.*?-->|^#+ Fruits!$|^\|-+.*", re.MULTILINE)


class Slide(NamedTuple):
    """A slide as its Markdown says it."""

    text: str
    language: str

    @property
    def pictures(self) -> list[str]:
        return re.findall(r"!\[[^\]]+\]\(([^)]+)\)", self.text)

    @property
    def sources(self) -> list[str]:
        """The pages that it cites, with the section where one is named."""
        quoted = "\n".join(line for line in self.text.splitlines() if line.startswith(">"))
        return re.findall(r"\]\(([^)]+)\)", quoted)

    @property
    def figures(self) -> set[str]:
        """As an English page writes them, without separators of thousands; those of diagrams too."""
        words = [NAMES.sub(" ", self.text)]
        for name in self.pictures:
            if name.endswith(".svg"):
                words += [said[self.language] for said in diagram(DOCS / name)]
        return {figure for each in words for figure in figures(each, self.language)}


def slides(language: str) -> list[Slide]:
    name = {"en": "presentation.md", "fr": "presentation.fr.md"}[language]
    front, *rest = re.split(r"^---$", (DOCS / name).read_text(encoding="utf-8"), flags=re.M)[1:]
    assert f"\nlang: {language}\n" in front
    return [Slide(text, language) for text in rest]


def figures(words: str, language: str) -> set[str]:
    if language == "fr":
        words = re.sub(r"(?<=\d)[\u202f\u00a0 ](?=\d{3}(?!\d))", "", words)
        words = re.sub(r"(?<=\d),(?=\d)", ".", words)
    else:
        words = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", words)
    return set(FIGURE.findall(words))


def section(source: str) -> str:
    """The text of a page, or of the section of it that ``page#section`` names."""
    name, _, anchor = source.partition("#")
    text = (DOCS / name).read_text(encoding="utf-8")
    if not anchor:
        return text
    title = re.escape(anchor).replace(r"\-", "[ -]")
    found = re.search(rf"^## {title}$.*?(?=^## |\Z)", text, re.M | re.S | re.I)
    assert found, source
    return found[0]


def diagram(path: Path) -> list[dict[str, str]]:
    """What each piece of text in a diagram says, by language."""
    texts = ET.parse(path).getroot().iter("{http://www.w3.org/2000/svg}text")
    return [{"en": text.text or "", "fr": text.get("data-fr", text.text or "")} for text in texts]


PAIRS = list(zip(slides("en"), slides("fr"), strict=True))
NUMBERED = [pytest.param(*pair, id=f"{n:02}") for n, pair in enumerate(PAIRS, 1)]
BOTH = [
    pytest.param(slide, id=f"{n:02}-{slide.language}")
    for n, p in enumerate(PAIRS, 1)
    for slide in p
]


@pytest.mark.parametrize(("english", "french"), NUMBERED)
def test_a_slide_is_the_same_in_both_languages(english: Slide, french: Slide) -> None:
    assert english.pictures == french.pictures
    assert english.sources == french.sources
    assert english.figures == french.figures
    for shape in (r"^- \*\*", r"^\|", r"^<!-- _class: .*", r"^#+ ", r"^<!--$"):
        found = [re.findall(shape, slide.text, re.M) for slide in (english, french)]
        assert found[0] == found[1], shape


@pytest.mark.parametrize("slide", BOTH)
def test_its_pictures_exist_and_are_small(slide: Slide) -> None:
    for name in slide.pictures:
        assert 0 < (DOCS / name).stat().st_size < MOST_BYTES, name


@pytest.mark.parametrize("slide", BOTH[2:])  # the cover states none
def test_its_figures_are_in_the_pages_that_it_cites(slide: Slide) -> None:
    assert slide.sources
    cited: set[str] = set()
    for name in slide.sources:
        cited |= figures(section(name), "en")
    assert not slide.figures - cited


@pytest.mark.parametrize("slide", BOTH)
def test_somebody_can_speak_to_it(slide: Slide) -> None:
    notes = re.findall(r"^<!--\n(.+?)^-->$", slide.text, re.M | re.S)
    assert len(notes) == 1
    assert len(notes[0].split()) > 30


def test_every_picture_is_shown() -> None:
    shown = {name for slide, _ in PAIRS for name in slide.pictures}
    assert shown == {f"slides/{path.name}" for path in (DOCS / "slides").iterdir()}


@pytest.mark.parametrize(
    "path", sorted((DOCS / "slides").glob("*.svg")), ids=lambda path: path.stem
)
def test_a_diagram_is_translated(path: Path) -> None:
    """Words that are the same in both languages are names, such as S3."""
    for said in diagram(path):
        assert said["en"].strip()
        assert said["fr"].strip()
        assert "'" not in said["en"] + said["fr"]


def test_the_lock_file_names_no_host() -> None:
    lock = json.loads((ROOT / "slides" / "package-lock.json").read_text(encoding="utf-8"))
    asked = json.loads((ROOT / "slides" / "package.json").read_text(encoding="utf-8"))
    assert lock["packages"][""]["dependencies"] == asked["dependencies"]
    for name, package in lock["packages"].items():
        assert name == "" or package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
