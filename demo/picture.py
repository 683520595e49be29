"""The picture: photos laid out by their first two components, beside what the components explain."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from demo import layout, sidebar
from demo.layout import Points
from demo.page import FAINT, LINE, WHITE, WIDTH, Page
from demo.results import Results
from demo.sidebar import Colour
from processor.errors import RejectedImage
from processor.photos.decode import decode

LEFT, TOP, ACROSS, DOWN = 44, 92, 1190, 846  # pixels of the map
MOST = 400  # photos shown as such; the others become dots
WARNING = "#a8480c"
UNLABELLED = "(no folder)"


@dataclass(frozen=True, slots=True, eq=False)
class Arrangement:
    """Where the photos of a map go, in pixels.

    Rows ``chosen`` are shown, ``side`` pixels wide, their middles ``at``; ``others`` become ``dots``.
    """

    side: int
    chosen: NDArray[np.intp]
    at: Points
    others: NDArray[np.intp]
    dots: Points


def draw(results: Results, photos: Mapping[str, Path], target: Path, *, trained: bool) -> int:
    """Write the PNG ``target`` of 1600 x 1000 pixels; return the number of photos shown.

    ``photos`` has the file of each key. Memory and time are bounded whatever the number of rows.
    """
    names = [label or UNLABELLED for label in results.labels]
    colours = sidebar.colours_of(names)
    page = Page()
    page.box(LEFT, TOP, ACROSS, DOWN, WHITE, LINE)

    def read(row: int) -> bytes | None:
        try:
            return photos[results.keys[row]].read_bytes()
        except (KeyError, OSError):
            return None

    canvas, shown = compose(arrange(results.points), [colours[name] for name in names], read)
    page.image(LEFT, TOP, np.asarray(canvas))
    _words(page, results, shown, trained=trained)
    right = LEFT + ACROSS + 26
    sidebar.draw(page, names, colours, results.variance, (right, TOP, WIDTH - 44 - right, DOWN))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a label in another script
        page.save(target)
    return shown


def arrange(points: NDArray[np.floating]) -> Arrangement:
    """Where photos go whose first two components are ``points``, (n, 2)."""
    side = layout.side_of(min(MOST, len(points)), ACROSS, DOWN)
    places = layout.place(points.astype(np.float64), ACROSS, DOWN, side * 0.6)
    chosen = layout.select(places, MOST, 0.7 * side)
    at = layout.spread(places[chosen], ACROSS, DOWN, side * 0.98)
    rest = np.setdiff1d(np.arange(len(points)), chosen)[: layout.CANDIDATES]
    return Arrangement(side, chosen, at, rest, places[rest])


def compose(
    plan: Arrangement, colours: Sequence[Colour], read: Callable[[int], bytes | None]
) -> tuple[Image.Image, int]:
    """The map, RGBA of ACROSS x DOWN pixels, and the number of photos shown.

    ``colours`` has one for each row, and ``read`` the file of a row, or None.
    """
    canvas = Image.new("RGBA", (ACROSS, DOWN), (0, 0, 0, 0))
    _dots(canvas, plan.dots, (colours[row] for row in plan.others))
    count = 0
    for n in np.random.default_rng(1).permutation(len(plan.chosen)):  # no label always on top
        row = int(plan.chosen[n])
        tile = _tile(read(row), plan.side, colours[row])
        if tile is not None:
            x, y = np.round(plan.at[n] - plan.side / 2).astype(int).tolist()
            canvas.alpha_composite(tile, (x, y))
            count += 1
    return canvas, count


def _dots(canvas: Image.Image, places: NDArray[np.float64], colours: Iterable[Colour]) -> None:
    pen = ImageDraw.Draw(canvas, "RGBA")
    for (x, y), colour in zip(places, colours, strict=True):
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=(*_bytes(colour), 150))


def _tile(data: bytes | None, side: int, colour: Colour) -> Image.Image | None:
    """A photo with a border and round corners; None if it cannot be decoded."""
    if data is None:
        return None
    border = max(2, side // 20)
    try:
        pixels = decode(data, side - 2 * border).pixels
    except RejectedImage:
        return None
    tile = Image.new("RGB", (side, side), _bytes(colour))
    inner = _rounded(side - 2 * border, side // 10)
    tile.paste(Image.fromarray(pixels), (border, border), inner)
    tile.putalpha(_rounded(side, side // 8))
    return tile


def _rounded(side: int, radius: int) -> Image.Image:
    large = Image.new("L", (4 * side, 4 * side))
    ImageDraw.Draw(large).rounded_rectangle((0, 0, 4 * side - 1, 4 * side - 1), 4 * radius, 255)
    return large.resize((side, side), Image.Resampling.LANCZOS)


def _words(page: Page, results: Results, shown: int, *, trained: bool) -> None:
    rows = len(results.keys)
    page.text(LEFT, 22, f"{rows:,} photo{'s' * (rows != 1)} as VGG-16 sees them", 21, weight="bold")
    caption = (
        f"each photo where the first two principal components of its {results.columns:,} features "
        "put it, nudged off its neighbours; the border's colour is its folder"
    )
    if shown < rows:
        caption += f"; {shown:,} shown, the others are dots"
    page.text(LEFT, 60, caption, 10.5, FAINT)
    if not trained:
        warning = "random weights: colour and texture more than species"
        page.text(LEFT + ACROSS, 27, warning, 12, WARNING, ha="right", weight="bold")
    axes = [
        f"component {n + 1} · {share:.1%} of the variance"
        for n, share in enumerate(results.variance[:2])
    ]
    page.text(LEFT + ACROSS / 2, TOP + DOWN + 11, axes[0], 10.5, FAINT, ha="center")
    for text in axes[1:]:
        middle = TOP + DOWN / 2
        page.text(LEFT - 12, middle, text, 10.5, FAINT, ha="right", va="center", rotation=90)


def _bytes(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in colour)
    return red, green, blue
