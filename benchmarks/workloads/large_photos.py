"""Large photos, drawn: slowly changing light, shapes of all sizes with sharp edges, and grain."""

import io

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 4000, 3000  # 12 megapixels, as phones take them
QUALITY = 90
_SHAPES = 400
_GRAIN = 5.0  # standard deviation; it makes a photo about 3 MB


def draw(number: int) -> bytes:
    """The JPEG of photo ``number``; the same bytes every time (for one Pillow)."""
    generator = np.random.default_rng([20_240_607, number])
    light = generator.integers(40, 216, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(light).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(_SHAPES):
        colour = tuple(int(part) for part in generator.integers(0, 256, 3))
        _shape(pen, colour, generator)
    grain = generator.standard_normal((HEIGHT, WIDTH, 1), dtype=np.float32) * np.float32(_GRAIN)
    pixels = (np.asarray(image) + grain).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _shape(
    pen: ImageDraw.ImageDraw, colour: tuple[int, ...], generator: np.random.Generator
) -> None:
    """An ellipse, a triangle or a line, more often small than large."""
    x, y = generator.uniform(0, WIDTH), generator.uniform(0, HEIGHT)
    reach = 10 ** generator.uniform(0.7, 2.9)
    corners = generator.uniform(-reach, reach, (3, 2)) + np.array([x, y])
    match generator.integers(3):
        case 0:
            (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
            pen.ellipse((left, top, right, bottom), fill=colour)
        case 1:
            pen.polygon([tuple(corner) for corner in corners], fill=colour)
        case _:
            pen.line([tuple(corner) for corner in corners], fill=colour, width=3)
