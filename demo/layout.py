"""The layout: where on a picture the photos go, near their points and clear of each other."""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (n, 2)

CANDIDATES = 20_000  # of more points, a random sample of this size is laid out
ROUNDS = 300
GAIN = 0.35  # share of an overlap by which each of two photos moves in a round; at 0.5 crowds jam
LEASH = 0.006  # share of the way back to its own place that a photo is pulled in each round
SHARE = 0.42  # of the picture's area that photos may cover
EDGE = 6  # pixels kept free at the border
SMALLEST, LARGEST = 30, 104  # sides of a photo, in pixels


def side_of(count: int, width: int, height: int) -> int:
    """Pixels of a photo's side when ``count`` of them share a picture."""
    return round(float(np.clip(np.sqrt(SHARE * width * height / count), SMALLEST, LARGEST)))


def place(points: Points, width: int, height: int, margin: float) -> Points:
    """Points to pixels, the first axis to the right and the second up; each axis fills its side."""
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    part = np.where(high > low, (points - low) / span, 0.5)
    room = np.array([width, height]) - 2 * margin
    return margin + np.column_stack([part[:, 0], 1 - part[:, 1]]) * room


def select(places: Points, limit: int, gap: float) -> NDArray[np.intp]:
    """At most ``limit`` indices, spread out: first those that keep ``gap`` pixels from each other.

    Equal arguments give equal answers. O(limit n) time for n up to CANDIDATES.
    """
    order = np.random.default_rng(0).permutation(len(places))[:CANDIDATES]
    if len(places) <= limit:
        return np.sort(order)
    chosen: list[int] = []
    distance = np.full(len(order), np.inf)
    for at, index in enumerate(order):
        if len(chosen) == limit:
            break
        if distance[at] >= gap:
            chosen.append(index)
            distance = np.minimum(distance, np.abs(places[order] - places[index]).max(axis=1))
    rest = order[~np.isin(order, chosen)]
    return np.sort(np.concatenate([np.array(chosen, np.intp), rest[: limit - len(chosen)]]))


def spread(places: Points, width: int, height: int, side: float) -> Points:
    """Push squares of ``side`` apart, each held near its place and all inside the picture.

    Overlaps of a few percent remain where it is crowded. O(n²) time a round.
    """
    # Equal places would never separate; the offset is the same every time.
    at = places + np.random.default_rng(0).uniform(-0.5, 0.5, places.shape)
    edge = side / 2 + EDGE
    most = np.array([width, height]) - edge
    for left in np.linspace(1, 0, ROUNDS):
        x, y = at.T
        near = (np.abs(x[:, None] - x) < side) & (np.abs(y[:, None] - y) < side)
        np.fill_diagonal(near, val=False)
        one, other = near.nonzero()
        apart = at[one] - at[other]
        overlap = side - np.abs(apart)
        overlap[np.arange(len(one)), overlap.argmax(axis=1)] = 0.0  # the short way out
        push = np.sign(apart) * overlap
        total = np.column_stack([np.bincount(one, push[:, n], len(at)) for n in (0, 1)])
        at += (GAIN * total).clip(-side / 2, side / 2) + LEASH * left * (places - at)
        at = at.clip(edge, most)
    return at
