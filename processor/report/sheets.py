"""Sheets: thumbnails side by side in few WebP files, as large and as good as fits."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 512  # pixels of a sheet at most; decoded it takes 1 MB in a browser
# Pixels of a thumbnail's longer side and WebP's quality, the best first.
STEPS = ((64, 80), (64, 65), (64, 50), (48, 60), (48, 45), (32, 60), (32, 45), (32, 30), (32, 15))
_SAMPLE = 4  # sheets that a step is judged by
_PAPER = (128, 128, 128)


@dataclass(frozen=True, eq=False)
class Sheets:
    """Thumbnail i is on sheet i // across², there in column i % across of row i // across % across.

    Each is in the middle of a square of ``tile`` pixels. Those after the last sheet have no picture.
    """

    tile: int
    across: int
    images: list[bytes]  # WebP; b"" where there is no picture on it
    sizes: NDArray[np.uint8]  # n x 2: width and height; 0 where there is no picture


def sheets(thumbnails: Sequence[bytes], budget: int) -> Sheets:
    """Sheets of ``thumbnails`` that take at most ``budget`` bytes in all.

    Thumbnails that are empty or do not decode are left out. If even the smallest take too much, the
    last ones are left out. Decodes all of them once, and again for each step whose estimate was too low.
    """
    step = _fitting(thumbnails, budget)
    while True:
        tile, quality = STEPS[step]
        made, total = [], 0
        for made_one in _encoded(thumbnails, tile, quality):
            total += len(made_one[0])
            if total > budget:
                break
            made.append(made_one)
        if total <= budget or step == len(STEPS) - 1:
            return _joined(tile, made, len(thumbnails))
        step += 1


def _joined(tile: int, made: list[tuple[bytes, NDArray[np.uint8]]], count: int) -> Sheets:
    sizes = np.zeros((count, 2), np.uint8)
    if made:
        known = np.concatenate([each for _, each in made])
        sizes[: len(known)] = known
    images = [image for image, _ in made]
    while images and not sizes[(len(images) - 1) * (SIDE // tile) ** 2 :].any():
        images.pop()  # nothing is on it
    return Sheets(tile, SIDE // tile, images, sizes)


def _fitting(thumbnails: Sequence[bytes], budget: int) -> int:
    """The first step that probably fits, judged by a few sheets from all over."""
    for step, (tile, quality) in enumerate(STEPS):
        each = (SIDE // tile) ** 2
        count = -(-len(thumbnails) // each)
        chosen = np.unique(np.linspace(0, max(0, count - 1), _SAMPLE).astype(int)).tolist()
        sample = [thumbnails[n * each : (n + 1) * each] for n in chosen]
        sizes = [len(image) for part in sample for image, _ in _encoded(part, tile, quality)]
        if sum(sizes) / max(1, len(sizes)) * count <= 0.97 * budget:
            return step
    return len(STEPS) - 1


def _encoded(
    thumbnails: Sequence[bytes], tile: int, quality: int
) -> Iterator[tuple[bytes, NDArray[np.uint8]]]:
    """Each sheet, and the sizes of what is on it."""
    across = SIDE // tile
    for first in range(0, len(thumbnails), across**2):
        part = thumbnails[first : first + across**2]
        rows = -(-len(part) // across)
        sheet = Image.new("RGB", (min(across, len(part)) * tile, rows * tile), _PAPER)
        sizes = np.zeros((len(part), 2), np.uint8)
        for n, data in enumerate(part):
            picture = _decoded(data, tile)
            if picture is not None:
                row, column = divmod(n, across)
                left = column * tile + (tile - picture.width) // 2
                sheet.paste(picture, (left, row * tile + (tile - picture.height) // 2))
                sizes[n] = picture.size
        if not sizes.any():
            yield b"", sizes
            continue
        packed = io.BytesIO()
        sheet.save(packed, "WEBP", quality=quality, method=4)
        yield packed.getvalue(), sizes


def _decoded(data: bytes, tile: int) -> Image.Image | None:
    """The thumbnail in at most ``tile`` pixels square; it comes from us, but a file may be damaged."""
    if not data:
        return None
    try:
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError):
        return None
    picture.thumbnail((tile, tile), Image.Resampling.LANCZOS)
    return picture
