"""The page's colours: text that can be read, and marks that the colour-blind tell apart."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

CSS = Path(__file__).resolve().parents[3] / "processor/report/web/source/page.css"
# What is seen without one kind of cones, in linear RGB (Machado, Oliveira & Fernandes, 2009).
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.01182, 0.04294, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.3039],
        ]
    ),
}
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_OKLAB = np.array(
    [
        [0.2104542553, 0.793617785, -0.0040720468],
        [1.9779984951, -2.428592205, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.808675766],
    ]
)


def theme(name: str) -> dict[str, np.ndarray]:
    """The custom properties of light or dark, in linear RGB."""
    light, dark = CSS.read_text(encoding="utf-8").split("@media (prefers-color-scheme: dark)")
    found = re.findall(r"--([\w-]+): #([0-9a-f]{6});", light if name == "light" else dark)
    return {key: linear(bytes.fromhex(value)) for key, value in found}


def linear(rgb: bytes) -> np.ndarray:
    share = np.array(list(rgb)) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def contrast(a: np.ndarray, b: np.ndarray) -> float:
    """As WCAG 2 defines it."""
    low, high = sorted(colour @ (0.2126, 0.7152, 0.0722) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


def oklab(colour: np.ndarray) -> np.ndarray:
    return TO_OKLAB @ np.cbrt(TO_CONES @ np.clip(colour, 0, 1))


@pytest.mark.parametrize("name", ["light", "dark"])
def test_text_stands_out_by_the_contrast_of_level_aa(name: str) -> None:
    colours = theme(name)
    for text, paper in itertools.product(("ink", "faint", "accent"), ("paper", "card", "wash")):
        assert contrast(colours[text], colours[paper]) >= 4.5, (text, paper)
    assert contrast(colours["edge"], colours["card"]) >= 3


@pytest.mark.parametrize("name", ["light", "dark"])
def test_marks_stand_out_and_stay_apart(name: str) -> None:
    """By 0.07 in OKLab, in which 0.02 is a difference that one just sees side by side."""
    colours = theme(name)
    marks = [colours[f"mark-{n}"] for n in range(9)]
    assert all(contrast(mark, colours["card"]) >= 3 for mark in marks[1:])
    for blindness, matrix in BLINDNESS.items():
        for a, b in itertools.combinations(range(9), 2):
            apart = np.linalg.norm(oklab(matrix @ marks[a]) - oklab(matrix @ marks[b]))
            assert apart >= 0.07, (blindness, a, b)
