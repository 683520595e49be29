"""The page: a matplotlib figure of 1600 x 1000 pixels, addressed in pixels from its upper left."""

from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

WIDTH, HEIGHT, DPI = 1600, 1000, 100
PAPER, WHITE, LINE, INK, FAINT = "#f7f5f0", "#ffffff", "#dedad0", "#22262b", "#7b8087"


class Page:
    """Drawn with Agg alone: no display, no state shared with other figures."""

    def __init__(self) -> None:
        self._figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor=PAPER)
        FigureCanvasAgg(self._figure)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        colour: str = INK,
        *,
        weight: Literal["normal", "bold"] = "normal",
        ha: Literal["left", "center", "right"] = "left",
        va: Literal["top", "center", "center_baseline"] = "top",
        rotation: float = 0,
    ) -> None:
        """``x`` and ``y`` are the text's upper left unless ``ha`` and ``va`` say otherwise.

        A ``$`` is printed as it is.
        """
        self._figure.text(
            x / WIDTH,
            1 - y / HEIGHT,
            text,
            size=size,
            color=colour,
            weight=weight,
            ha=ha,
            va=va,
            rotation=rotation,
            parse_math=False,
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str | tuple[float, float, float],
        line: str = "none",
    ) -> None:
        lower_left = (x / WIDTH, 1 - (y + height) / HEIGHT)
        size = width / WIDTH, height / HEIGHT
        place = self._figure.transFigure
        box = Rectangle(lower_left, *size, transform=place, facecolor=fill, edgecolor=line)
        self._figure.add_artist(box)

    def image(self, x: int, y: int, pixels: NDArray[np.uint8]) -> None:
        """RGBA pixels, one to one."""
        below = HEIGHT - y - len(pixels)
        self._figure.figimage(pixels, x, below, origin="upper", zorder=5)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        lower_left = (x / WIDTH, 1 - (y + height) / HEIGHT)
        return self._figure.add_axes(
            (*lower_left, width / WIDTH, height / HEIGHT), facecolor="none"
        )

    def save(self, target: Path) -> None:
        with mpl.rc_context({"savefig.dpi": "figure", "savefig.bbox": None}):
            self._figure.savefig(target, format="png", facecolor=PAPER)
