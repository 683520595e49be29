"""``python -m slides.pictures``: the presentation's photographs, from what the demo has computed.

Run it after ``./run demo --photos DIR --weights PATH``. It writes docs/slides/*.jpg, which are
committed; the photos are not.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from demo.picture import ACROSS, DOWN, LEFT, TOP
from processor.photos.decode import decode

SLIDES = Path(__file__).resolve().parent.parent / "docs" / "slides"
PREFIX = "photos/"
PAPER, ACCENT, RIGHT, WRONG = "#f7f5f0", "#2f6f9f", "#4b9a3c", "#d6362f"
QUALITY = 82
PREPARED = ("Lemon/Lemon_011.jpg", "Avocado/Avocado_035.jpg")
ASKED = ("Apple/Granny-Smith", "Orange", "Kiwi")  # folders: the first photo of each
NEIGHBOURS = 4


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m slides.pictures", description=__doc__)
    parser.add_argument("output", type=Path, help="what the demo has written")
    parser.add_argument("photos", type=Path, help="the folder of photos that it was given")
    options = parser.parse_args(arguments)
    table = pq.read_table(options.output / "features.parquet", columns=["key", "label", "features"])
    keys, labels = table["key"].to_pylist(), table["label"].to_pylist()
    vectors = np.array(table["features"].to_pylist(), np.float32)
    asked = [_first(keys, folder) for folder in ASKED]
    files = [options.photos / key.removeprefix(PREFIX) for key in keys]
    for name, picture in (
        ("map", _map(options.output / "map.png")),
        ("preprocessing", _preprocessing([options.photos / name for name in PREPARED])),
        ("neighbours", _neighbours(asked, files, labels, vectors)),
    ):
        picture.convert("RGB").save(SLIDES / f"{name}.jpg", quality=QUALITY, optimize=True)
    return 0


def _first(keys: list[str], folder: str) -> int:
    return min(n for n, key in enumerate(keys) if f"/{folder}/" in key)


def _map(page: Path) -> Image.Image:
    """The demo's picture without its margins and words."""
    return Image.open(page).crop((LEFT, TOP, LEFT + ACROSS, TOP + DOWN))


def _preprocessing(files: list[Path]) -> Image.Image:
    """Each photo as it is, beside it as the network reads it."""
    wide, tall, side, gap = 280, 340, 224, 48
    canvas = Image.new("RGB", (2 * wide + 2 * (gap + side) + gap, tall), PAPER)
    pen = ImageDraw.Draw(canvas)
    for n, path in enumerate(files):
        with Image.open(path) as photo:
            whole = ImageOps.contain(ImageOps.exif_transpose(photo).convert("RGB"), (wide, tall))
        square = Image.fromarray(decode(path.read_bytes(), side).pixels)
        left = n * (wide + side + 2 * gap) + (wide - whole.width) // 2
        middle = left + whole.width + gap // 2
        canvas.paste(whole, (left, (tall - whole.height) // 2))
        canvas.paste(square, (left + whole.width + gap, (tall - side) // 2))
        tip = [(middle - 8, tall // 2 - 16), (middle + 10, tall // 2), (middle - 8, tall // 2 + 16)]
        pen.polygon(tip, ACCENT)
    return canvas


def _neighbours(
    asked: list[int], files: list[Path], labels: list[str], vectors: NDArray[np.float32]
) -> Image.Image:
    """A row for each question: the photo, then the nearest others, green where of the same kind."""
    side, gap, first = 170, 12, 28
    across = first + (NEIGHBOURS + 1) * (side + gap) - gap
    canvas = Image.new("RGB", (across, len(asked) * (side + gap) - gap), PAPER)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for row, n in enumerate(asked):
        nearest = [int(k) for k in np.argsort(-(units @ units[n])) if k != n][:NEIGHBOURS]
        for column, k in enumerate([n, *nearest]):
            edge = PAPER if k == n else RIGHT if labels[k] == labels[n] else WRONG
            tile = ImageOps.expand(
                Image.fromarray(decode(files[k].read_bytes(), side - 12).pixels), 6, edge
            )
            canvas.paste(
                tile, (column * (side + gap) + (first if column else 0), row * (side + gap))
            )
    return canvas


if __name__ == "__main__":
    sys.exit(main())
