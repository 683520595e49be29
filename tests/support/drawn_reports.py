"""Drawn reports: summaries and points made up of numbers, as plain or as odd as a test wants them."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from PIL import Image

from processor.report.points import NEIGHBOURS, THUMBNAIL_PIXELS, Points
from processor.report.summary import Fit, Group, Summary

AT = datetime(2026, 11, 27, 20, 5, tzinfo=UTC)
FRUIT = ("apple", "pear", "plum", "lemon", "kiwi", "mango", "melon", "peach", "lime", "fig")


def summary(**others: Any) -> Summary:
    """A store of 1,142 photos in 10 labels; ``others``: fields that differ."""
    plain = Summary(
        at=AT,
        bucket="fruits-photos",
        photos=1142,
        labels=[(name, 200 - 19 * n) for n, name in enumerate(FRUIT)],
        kinds=len(FRUIT),
        rejects=[
            Group("truncated", 3, [("photos/pear/7.jpg", "ends in a scan; upload it again")]),
            Group("unsupported", 1, [("photos/notes.txt", "a text; upload a photo")]),
        ],
        pending=[Group("archived", 2, [("photos/fig/1.jpg", "is in Glacier; restore it")])],
        stored=[(AT + timedelta(hours=n - 9), 40 + 30 * (n * 7 % 5)) for n in range(9)],
        explained_variance=[0.3 * 0.8**n for n in range(16)],
        captured=0.9982,
        fits=[
            Fit("20261127T200105-v9-0a1b2c", AT, 1142, "12 % more photos", 16, 0.0041),
            Fit("20261127T120000-v2-ffeedd", AT - timedelta(hours=8), 1000, "the first", 16, None),
        ],
        network="vgg16-avg_pool-224-5775d8524f0c6b89-reduced2-bilinear-vgg16-1",
        versions={"features": "12", "reduced": "11", "TensorFlow": "2.21.0"},
    )
    return replace(plain, **others)


def points(count: int, **others: Any) -> Points:
    """Photos on a sunflower's spiral, the first in the middle; 64 different thumbnails."""
    place = np.arange(count)
    turned = place * np.pi * (3 - np.sqrt(5))
    far = np.sqrt(place / max(1, count - 1)) * 10
    labels = [FRUIT[int(n)] for n in np.sqrt(place * 5 % 97).astype(int) % len(FRUIT)]
    near = (place[:, None] + np.arange(1, NEIGHBOURS + 1)) % max(1, count)
    near = np.where(np.arange(NEIGHBOURS) < count - 1, near, -1).astype(np.int32)
    cosines = np.where(near < 0, np.nan, 0.99 - 0.01 * np.arange(NEIGHBOURS))
    drawn = [thumbnail(n) for n in range(min(count, 64))]
    plain = Points(
        keys=[f"photos/{label}/{n}.jpg" for n, label in enumerate(labels)],
        labels=labels,
        xy=np.stack([far * np.cos(turned), far * np.sin(turned)], axis=1).astype(np.float32),
        neighbours=near,
        cosines=cosines.astype(np.float32),
        thumbnails=[drawn[n % 64] for n in range(count)],
        population=count,
    )
    return replace(plain, **others)


def thumbnail(seed: int, width: int = THUMBNAIL_PIXELS, height: int = 48) -> bytes:
    """A coarse pattern of its own colour, as WebP."""
    noise = np.random.default_rng(seed)
    coarse = noise.integers(0, 90, (6, 8, 3)) + noise.integers(0, 160, 3)
    image = Image.fromarray(coarse.astype(np.uint8)).resize((width, height))
    packed = io.BytesIO()
    image.save(packed, "WEBP", quality=80)
    return packed.getvalue()
