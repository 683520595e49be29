"""The page: a matplotlib figure of 1600 x 1000 pixels, addressed in pixels from its upper left."""

from pathlib import Path
from typing import Any

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
        self, x: float, y: float, text: str, size: float, colour: str = INK, **how: Any
    ) -> None:
        """``y`` is the top of the text unless ``va`` says otherwise; ``$`` is a dollar."""
        how = {"va": "top", "parse_math": False, **how}
        self._figure.text(x / WIDTH, 1 - y / HEIGHT, text, size=size, color=colour, **how)

    def box(
        self, x: float, y: float, width: float, height: float, fill: Any, line: str = "none"
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
