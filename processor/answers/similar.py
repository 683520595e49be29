"""Photos like a given one, and the likely label: exact, by one pass over the features.

Before that, for the confidence, a sample of the stored photos is read, from SAMPLE_BYTES of data files
at most; its neighbours are found in the same pass. What is learnt from it is kept nowhere, so it is of
the very rows that were searched.
"""

import threading
from itertools import accumulate
from operator import itemgetter
from typing import TypedDict
from zlib import crc32

import numpy as np

from processor.answers.asked import Asked
from processor.answers.labels import VOTERS, Calibration, Likely
from processor.answers.nearest import SAME, Nearest
from processor.answers.rows import Block, StoredRows
from processor.network.spec import Features

SAMPLE_BYTES = 128 << 20
MOST_SAMPLED, LEAST_SAMPLED = 1000, 100
SAMPLE_PAIRS = 100_000_000  # of a sampled row and any row: a second or two of products, 512 columns


class Near(TypedDict):
    """A stored photo, and the cosine between its features and those of the photo asked about."""

    key: str
    label: str | None
    cosine: float


class Similar(TypedDict):
    """What ``python -m processor similar PHOTO --json`` prints.

    ``likely`` is the likely label, ``confidence`` 0 to 1; these and ``least_cosine`` are None where too
    few stored photos have labels. ``none_of_these``: whether even the nearest's cosine is less than it.
    """

    photo: str
    verdict: str
    likely: str | None
    confidence: float | None
    none_of_these: bool
    least_cosine: float | None
    neighbours: list[Near]
    photos: int
    features_version: int


def similar(rows: StoredRows, photo: str, asked: Asked, top: int) -> Similar:
    """The ``top`` nearest of all stored photos (there is one at least) but itself, and what follows.

    n d multiply-adds for the photo and as many for each that is sampled, at most 1,000; fewer in a large
    store, but at least 100. Raises like :meth:`.StoredRows.scan`.
    """
    labels, sample = _sample(rows)
    own = Nearest(asked.features, max(top, VOTERS) + 1)
    others = Nearest(sample, VOTERS, below=SAME)

    def take(block: Block) -> None:
        own.offer(block.features, block.keys, block.labels)
        others.offer(block.features, block.keys, block.labels)

    rows.scan(take)
    near = [each for each in own.found()[0] if each.key != asked.key]
    calibration = Calibration.learn(labels, others.found())
    likely = calibration.likely(near) if calibration else None
    least = calibration.least_cosine if calibration else None
    none = least is not None and (not near or near[0].cosine < least)
    return {
        "photo": photo,
        "verdict": _verdict(likely, none=none, least=least),
        "likely": likely.label if likely else None,
        "confidence": round(likely.confidence, 4) if likely else None,
        "none_of_these": none,
        "least_cosine": None if least is None else round(least, 4),
        "neighbours": [
            {"key": each.key, "label": each.label, "cosine": round(each.cosine, 5)}
            for each in near[:top]
        ],
        "photos": rows.photos,
        "features_version": rows.table_version,
    }


def _verdict(likely: Likely | None, *, none: bool, least: float | None) -> str:
    if none:
        return f"none of these: no stored photo has a cosine of at least {least:.3f}"
    if not likely:
        return "unknown: too few stored photos have a label"
    return f"{likely.label}, {likely.confidence:.1%} likely"


def _sample(rows: StoredRows) -> tuple[list[str | None], Features]:
    """Labels and features, (m, d), of some stored photos: those with the smallest checksums of keys.

    So they are the same in whatever order blocks come. Data files have random names, so of a large store
    the first are as good as others; each holds a range of keys, and the sample is one of ranges.
    """
    wanted = max(LEAST_SAMPLED, min(MOST_SAMPLED, SAMPLE_PAIRS // max(rows.photos, 1)))
    ends = accumulate(rows.sizes[path] for path in sorted(rows.sizes))
    some = [
        path
        for number, (path, end) in enumerate(zip(sorted(rows.sizes), ends, strict=True))
        if not number or end <= SAMPLE_BYTES
    ]
    drawn: list[tuple[int, str, str | None, Features]] = []
    changing = threading.Lock()

    def take(block: Block) -> None:
        keys = block.keys.to_pylist()
        marks = [crc32(key.encode(errors="replace")) for key in keys]
        first = [
            (marks[row], keys[row], block.labels[row].as_py(), block.features[row].copy())
            for row in np.argsort(marks)[:wanted]
        ]
        with changing:
            drawn.extend(first)
            drawn.sort(key=itemgetter(0, 1))
            del drawn[wanted:]

    rows.scan(take, some)
    labels = [label for _, _, label, _ in drawn]
    return labels, np.stack([features for *_, features in drawn])
