"""The sidebar: which colour is which folder, and what the components explain."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import hsv_to_rgb, to_rgb
from numpy.typing import NDArray

from common.printable import printable
from demo.page import FAINT, INK, Page

MOST_LABELS = 20  # in the legend; the largest, if there are more
LONGEST = 26  # characters of a label
STEP, SWATCH = 25, 14  # pixels
CHART = 330
ACCENT = "#2f6f9f"
PALETTE = [
    *("#d6362f", "#f2b70f", "#8e4fb0", "#4b9a3c", "#ef7d1a", "#17a5a5", "#3a78c2"),
    *("#e3679f", "#7a5230", "#8fae1b", "#1d3f72", "#b01657", "#5c6b73", "#65c2e8"),
    *("#f0946c", "#2b6e4f", "#b79ad6", "#c9a35b", "#6f1d1b", "#9fd3a8"),
]

Colour = tuple[float, float, float]


def colours_of(names: Sequence[str]) -> dict[str, Colour]:
    """A colour for each name, in order of the names."""
    distinct = sorted(set(names))
    if len(distinct) <= len(PALETTE):
        return {name: to_rgb(PALETTE[n]) for n, name in enumerate(distinct)}
    hues = np.linspace(0, 1, len(distinct), endpoint=False)
    return {
        name: tuple(hsv_to_rgb((hue, (0.85, 0.6)[n % 2], (0.8, 0.65, 0.95)[n % 3])))
        for n, (name, hue) in enumerate(zip(distinct, hues, strict=True))
    }


def draw(
    page: Page,
    names: Sequence[str],
    colours: Mapping[str, Colour],
    variance: NDArray[np.float64],
    place: tuple[int, int, int, int],
) -> None:
    """The legend from the top of ``place`` (left, top, width, height), the chart at its bottom."""
    left, top, width, height = place
    below = _legend(page, names, colours, left, top, width)
    at = max(below, top + height - CHART)
    _chart(page, variance, left, at, width, top + height - at)


def _legend(
    page: Page,
    names: Sequence[str],
    colours: Mapping[str, Colour],
    left: int,
    top: int,
    width: int,
) -> int:
    shown = Counter(names).most_common(MOST_LABELS)
    all_of_them = len(shown) == len(colours)
    title = "folders" if all_of_them else f"{len(shown)} largest of {len(colours):,} folders"
    page.text(left, top - 4, title, 13, weight="bold")
    row = top + 36
    for name, count in sorted(shown):
        whole = printable(name)
        short = whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 1]}…"
        middle = row + SWATCH / 2
        page.box(left, row, SWATCH, SWATCH, colours[name])
        page.text(left + 24, middle, short, 11, va="center_baseline")
        page.text(left + width, middle, f"{count:,}", 11, FAINT, va="center_baseline", ha="right")
        row += STEP
    return row + SWATCH


def _chart(
    page: Page, variance: NDArray[np.float64], left: int, top: int, width: int, height: int
) -> None:
    """What each component explains, and all up to it."""
    count = len(variance)
    page.text(left, top, "explained variance", 13, weight="bold")
    kept = f"{count} component{'s' * (count != 1)} keep{'s' * (count == 1)} {variance.sum():.1%}"
    page.text(left, top + 24, kept, 10.5, FAINT)
    scale = 34  # pixels for the numbers at the left
    axes = page.axes(left + scale, top + 62, width - scale, height - 62)
    numbers, sums = np.arange(1, count + 1), np.cumsum(variance) * 100
    axes.bar(numbers, variance * 100, width=0.8, color=ACCENT, alpha=0.45, linewidth=0)
    axes.plot(numbers, sums, color=ACCENT, linewidth=2.2)
    axes.plot(numbers[-1:], sums[-1:], "o", color=ACCENT, markersize=6)
    axes.set_xlim(0.3, count + 1.2)
    axes.set_ylim(0, 104)
    axes.set_yticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
    quarter = max(1, count // 4)
    axes.set_xticks(sorted({1, *range(quarter, count + 1, quarter)}))
    axes.tick_params(colors=FAINT, labelsize=9, length=0, labelcolor=FAINT)
    axes.grid(axis="y", color=INK, alpha=0.1, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
