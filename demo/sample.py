"""The sample: drawn photos of fruit, for those who have none at hand.

Each photo shows some pieces of one fruit as lit reliefs on a table: what the network sees has shape,
shading, gloss, texture and clutter, as in real photos.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from demo.fruit import SPECIES, Field, Species, noise, rgb, smooth

SIDE = 320  # pixels
SEED = 20_240_607

_TABLES = (  # of similar brightness, so that the fruit makes the difference
    (0.70, 0.59, 0.45),  # oak
    (0.74, 0.66, 0.54),  # beech
    (0.72, 0.71, 0.67),  # linen
    (0.60, 0.65, 0.70),  # slate
    (0.66, 0.70, 0.73),  # tin
    (0.75, 0.70, 0.61),  # paper
)


def write(folder: Path, per_species: int = 20) -> None:
    """Write ``folder/Species/species-NN.jpg``, the same bytes every time (for one Pillow)."""
    for species in SPECIES:
        target = folder / species.name
        target.mkdir(parents=True)
        for number in range(1, per_species + 1):
            name = f"{species.name.lower()}-{number:02}.jpg"
            quality = 78 + number % 5 * 4
            draw(species, number).save(target / name, quality=quality)


def draw(species: Species, number: int) -> Image.Image:
    """Photo ``number`` of a species; equal arguments give equal pixels."""
    generator = np.random.default_rng([SEED, number, *species.name.encode()])
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    picture = _table(x, y, generator)
    light = generator.uniform(-1.2, 1.2)
    for at_x, at_y, radius in _places(generator, species.most):
        turn = generator.uniform(-0.5, 0.5) + generator.choice([0, 0, 0, np.pi])
        cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        window = _window(at_y, radius), _window(at_x, radius)
        right, down = (x[window] - at_x) / radius, (y[window] - at_y) / radius
        u, v = right * cosine + down * sine, down * cosine - right * sine
        height, colour = species.paint(u, v, generator)
        _place(picture[window], height * radius, colour, light, species.gloss)
    picture *= rgb(generator, 1, 1, 1, 0.02) * generator.uniform(0.92, 1.06)  # the light's colour
    grain = generator.standard_normal(picture.shape, np.float32)
    picture += grain * generator.uniform(0.005, 0.025)
    image = Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(float(generator.choice([0, 0, 0.6, 1.1]))))


def _window(centre: float, radius: float) -> slice:
    """The pixels that a piece and its shadow can touch, along one axis."""
    reach = 1.12 * radius + 0.18
    first, last = ((centre + side * reach + 1) / 2 * SIDE for side in (-1, 1))
    return slice(max(0, int(first)), min(SIDE, int(last)))


def _places(generator: np.random.Generator, most: int) -> list[tuple[float, float, float]]:
    """Where the pieces lie (x, y, radius): one large or some smaller ones, seldom hiding another."""
    count = generator.choice([1, 1, min(2, most), most])
    radius = {1: 0.74, 2: 0.54, 3: 0.46}[int(count)] * generator.uniform(0.88, 1.08)
    first = generator.uniform(0, 2 * np.pi)
    spread = 0.12 if count == 1 else 0.5
    return [
        (
            spread * np.cos(angle) + generator.normal(0, 0.04),
            spread * np.sin(angle) + generator.normal(0, 0.04),
            radius * generator.uniform(0.92, 1.05),
        )
        for angle in first + 2 * np.pi * np.arange(count) / count
    ]


def _place(picture: Field, height: Field, colour: Field, light: float, gloss: float) -> None:
    """Put one relief into the picture: its shadow, then its lit surface."""
    cover = smooth(height, 0.0, 0.03)[..., None]
    shift = round(SIDE * 0.035)
    shape = Image.fromarray((cover[..., 0] * 255).astype(np.uint8))
    aside = (1, 0, shift * np.sin(light), 0, 1, -shift)
    shadow = shape.transform(shape.size, Image.Transform.AFFINE, aside)
    shadow = shadow.filter(ImageFilter.GaussianBlur(9))
    picture *= 1 - np.float32(0.55 / 255) * np.asarray(shadow)[..., None]

    down, right = np.gradient(height, 2 / SIDE)
    normal = np.stack([-right, -down, np.ones_like(height)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    sun = np.array([np.sin(light), -0.8, 1.1], np.float32)
    sun /= np.linalg.norm(sun)
    half = (sun + np.array([0, 0, 1], np.float32)) / 2
    lit = (normal @ sun).clip(0, 1)[..., None]
    shine = gloss * (normal @ half).clip(0, 1)[..., None] ** 40
    picture += cover * (colour * (0.38 + 0.72 * lit) + shine - picture)


def _table(x: Field, y: Field, generator: np.random.Generator) -> Field:
    """What the fruit lies on: wood, cloth, stone or paper."""
    base = np.array(_TABLES[generator.integers(len(_TABLES))], np.float32)
    turn = generator.uniform(0, np.pi)
    along = x * np.cos(turn) + y * np.sin(turn)
    across = y * np.cos(turn) - x * np.sin(turn)
    rough = noise(x, 5, generator) + 0.5 * noise(x, 18, generator)
    match generator.integers(4):
        case 0:  # wood
            tone = 0.10 * np.sin(26 * across + 3 * rough) + 0.06 * np.sin(90 * across + 5 * along)
        case 1:  # cloth
            tone = 0.07 * np.sign(np.sin(12 * along)) + 0.07 * np.sign(np.sin(12 * across))
        case 2:  # stone
            tone = 0.13 * rough
        case _:  # paper
            tone = 0.12 * along
    surface: Field = base * (1 + tone[..., None])
    return surface
