"""Drawn photos: small ones to put into a bucket."""

import io

import numpy as np
from PIL import Image


def photo(seed: int, kind: str = "JPEG", size: tuple[int, int] = (40, 30)) -> bytes:
    """A small photo; each seed gives a different picture."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (3, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(buffer, kind)
    return buffer.getvalue()
