"""The fruit: each species as a painter of its relief and its colours.

A painter gets the points of a small plane (``u``, ``v``; the fruit fills the unit circle) and says
how high the fruit is at each (0 outside of it) and what colour it has.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.floating]
Paint = tuple[Field, Field]  # height (h, w) and colour (h, w, 3), RGB in 0..1


@dataclass(frozen=True, slots=True)
class Species:
    """A fruit: ``paint(u, v, generator)`` draws it within the unit circle; ``gloss`` 0..1."""

    name: str
    paint: Callable[[Field, Field, np.random.Generator], Paint]
    gloss: float
    most: int  # pieces in one photo


def noise(like: Field, cells: int, generator: np.random.Generator) -> Field:
    """Smooth noise around 0, of ``cells`` bumps across, in the shape of ``like``."""
    small = Image.fromarray(generator.standard_normal((cells, cells), np.float32))
    bumps: Field = np.asarray(small.resize(like.shape[::-1], Image.Resampling.BICUBIC))
    return bumps


def smooth(value: Field, low: float, high: float) -> Field:
    """0 below ``low``, 1 above ``high``, an S-curve in between."""
    step = ((value - low) / (high - low)).clip(0, 1)
    curve: Field = step * step * (3 - 2 * step)
    return curve


def _dome(inside: Field, radius: float) -> Field:
    """A round height over a flat shape; ``inside`` is the depth below its edge."""
    part = (inside / radius).clip(0, 1)
    height: Field = radius * np.sqrt(1 - (1 - part) ** 2)
    return height


def _mix(part: Field, first: Field, second: Field) -> Field:
    return first + part[..., None] * (second - first)


def _colour(red: float, green: float, blue: float) -> Field:
    return np.array([red, green, blue], np.float32)


def rgb(
    generator: np.random.Generator, red: float, green: float, blue: float, spread: float = 0.025
) -> Field:
    """A colour, never quite the same."""
    return _colour(red, green, blue) + generator.normal(0, spread, 3).astype(np.float32)


def _apple(u: Field, v: Field, generator: np.random.Generator) -> Paint:
    dimple = 0.17 * np.exp(-((u / 0.28) ** 2)) * smooth(-v, 0.0, 0.5)
    height = _dome(0.86 - np.hypot(u, v * 1.06) - dimple, 0.86)
    streaks = noise(u, 40, generator) * 0.35
    blush = smooth(0.9 * noise(u, 3, generator) + streaks + 0.9, 0.0, 1.8)
    skin = _mix(blush, rgb(generator, 0.80, 0.66, 0.22), rgb(generator, 0.70, 0.07, 0.09))
    stem = (np.abs(u - 0.15 * (v + 0.7)) < 0.035) & (v > -1.0) & (v < -0.62)
    skin = np.where(stem[..., None], _colour(0.28, 0.18, 0.08), skin)
    return np.where(stem, 0.25, height), skin


def _banana(u: Field, v: Field, generator: np.random.Generator) -> Paint:
    middle, bend = -1.0, generator.uniform(1.1, 1.3)
    angle = np.arctan2(u, v - middle)
    reach = np.abs(angle) / 0.85
    width = 0.33 * np.sqrt((1 - reach.clip(0, 1) ** 4).clip(0, 1)) + 0.03
    height = _dome(width - np.abs(np.hypot(u, v - middle) - bend), 0.3) * (reach < 1.12)
    ripe = smooth(noise(u, 24, generator), 1.2, 2.0) * generator.uniform(0, 1)
    skin = _mix(ripe, rgb(generator, 0.94, 0.79, 0.14), _colour(0.35, 0.22, 0.08))
    skin = _mix(smooth(reach, 0.82, 1.05), skin, _colour(0.42, 0.36, 0.10))
    ridge = 1 - 0.16 * np.exp(-(((np.hypot(u, v - middle) - bend + 0.06) / 0.025) ** 2))
    return height, skin * ridge[..., None]


def _grapes(u: Field, v: Field, generator: np.random.Generator) -> Paint:
    height = np.zeros_like(u)
    tone = np.zeros_like(u)
    for row, count in enumerate((3, 4, 3, 2, 1)):
        for place in range(count):
            at = 0.36 * (place - (count - 1) / 2) + generator.normal(0, 0.02)
            ball = _dome(0.235 - np.hypot(u - at, v + 0.58 - 0.31 * row), 0.235)
            tone = np.where(ball > height, generator.uniform(0, 1), tone)
            height = np.maximum(height, ball * generator.uniform(0.95, 1.05))
    dark, bright = rgb(generator, 0.25, 0.08, 0.28), rgb(generator, 0.42, 0.16, 0.42)
    return height, _mix(tone, dark, bright)


def _kiwi(u: Field, v: Field, generator: np.random.Generator) -> Paint:
    radius, angle = np.hypot(u, v * 1.1), np.arctan2(v, u)
    height = 0.25 * smooth(0.86 - radius, 0.0, 0.05)  # a half, cut side up
    rays = 0.5 + 0.5 * np.sin(angle * generator.integers(24, 32) + 2 * noise(u, 6, generator))
    green, pale = rgb(generator, 0.40, 0.62, 0.10), rgb(generator, 0.88, 0.90, 0.66)
    flesh = _mix(0.45 * rays * smooth(radius, 0.2, 0.5), green, pale)
    flesh = _mix(smooth(0.30 - radius, 0.0, 0.10), flesh, pale)
    count = generator.integers(22, 28)
    ring = np.abs(radius - 0.40 - 0.05 * np.sin(angle * 7)) < 0.055
    seeds = smooth(np.cos(angle * count), 0.55, 0.8) * ring
    flesh = _mix(seeds, flesh, _colour(0.06, 0.05, 0.03))
    return height, _mix(smooth(radius, 0.79, 0.82), flesh, _colour(0.38, 0.27, 0.13))


def _orange(u: Field, v: Field, generator: np.random.Generator) -> Paint:
    height = _dome(0.86 - np.hypot(u, v), 0.86)
    pores = noise(u, 90, generator)
    skin = rgb(generator, 0.95, 0.50, 0.05) * (1 + 0.05 * pores[..., None])
    navel = smooth(0.07 - np.hypot(u - 0.1, v + 0.35), 0.0, 0.03)
    skin = _mix(navel, skin, _colour(0.36, 0.38, 0.14))
    return height * (1 + 0.004 * pores), skin


def _pear(u: Field, v: Field, generator: np.random.Generator) -> Paint:
    bulb, neck = 0.60 - np.hypot(u, v - 0.30), 0.31 - np.hypot(u, v + 0.48)
    inside = 0.14 * np.logaddexp(bulb / 0.14, neck / 0.14)
    height = _dome(inside, 0.66)
    freckles = smooth(noise(u, 70, generator), 1.4, 2.2)
    green, yellow = rgb(generator, 0.52, 0.62, 0.16), rgb(generator, 0.74, 0.72, 0.26)
    skin = _mix(smooth(noise(u, 3, generator) - v, -1, 1.5), green, yellow)
    skin = _mix(0.6 * freckles, skin, _colour(0.36, 0.28, 0.10))
    stem = (np.abs(u + 0.2 * (v + 0.75)) < 0.035) & (v > -1.05) & (v < -0.78)
    skin = np.where(stem[..., None], _colour(0.30, 0.20, 0.10), skin)
    return np.where(stem, 0.2, height), skin


SPECIES = (
    Species("Apple", _apple, 0.55, 3),
    Species("Banana", _banana, 0.2, 2),
    Species("Grapes", _grapes, 0.6, 2),
    Species("Kiwi", _kiwi, 0.15, 3),
    Species("Orange", _orange, 0.35, 3),
    Species("Pear", _pear, 0.3, 2),
)
