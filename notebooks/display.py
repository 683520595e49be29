"""The display: tables, rows of photos, the map and a chart, each picture with a text in its place.

Keys and labels are anybody's text, and are escaped.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from html import escape

import numpy as np
from IPython.display import HTML, Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import ExifTags
from PIL import Image as Pillow
from pyspark.sql import SparkSession

from common.printable import printable
from demo import picture, sidebar
from demo.picture import Arrangement
from processor.errors import PhotoError
from processor.network.spec import vgg16_input
from processor.photos import objects
from processor.photos.decode import Pixels, decode

MAX_BYTES = 50_000_000
MOST_NAMED = 40  # labels in a legend
ACCENT = "#2f6f9f"

_FIGURE = "margin:0;width:{side}px;font-size:12px;line-height:1.35;overflow-wrap:anywhere"
_ROW = "display:flex;flex-wrap:wrap;gap:10px;margin:6px 0"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> HTML:
    """Rows of texts and numbers; numbers are right-aligned, fractions have three digits."""
    head = "".join(f"<th style='text-align:left'>{_text(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return HTML(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def photos(rows: Iterable[Iterable[tuple[bytes | None, str]]], side: int = 104) -> HTML:
    """Rows of photos, JPEG or PNG, with their captions; None is an empty frame."""
    return HTML("".join(f"<div style='{_ROW}'>{_figures(row, side)}</div>" for row in rows))


def photo_map(
    plan: Arrangement, labels: Sequence[str | None], thumbnails: Mapping[int, bytes]
) -> tuple[Image, HTML]:
    """The map of all rows, and its legend. ``thumbnails`` are of rows."""
    names = [label or picture.UNLABELLED for label in labels]
    colours = sidebar.colours_of(names)
    canvas, shown = picture.compose(plan, [colours[name] for name in names], thumbnails.get)
    page = Pillow.new("RGB", canvas.size, "white")
    page.paste(canvas, mask=canvas)
    alt = f"{shown} photos laid out by the first two components; the border's colour is the label"
    entries = [
        f"<span style='white-space:nowrap'><span style='color:{_css(colours[name])}'>■</span> "
        f"{_text(name)}</span>"
        for name in list(colours)[:MOST_NAMED]
    ]
    more = f" and {len(colours) - MOST_NAMED} more" if len(colours) > MOST_NAMED else ""
    return (
        Image(_encoded(page), format="jpeg", alt=alt),
        HTML(f"<div style='font-size:13px;line-height:1.7'>{'  '.join(entries)}{more}</div>"),
    )


def variance_chart(shares: NDArray[np.float64]) -> Image:
    """What each component explains, and all up to it; ``shares`` of the variance, (k,)."""
    figure = Figure(figsize=(8, 2.8), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    each, sums = figure.subplots(1, 2)
    numbers = np.arange(1, len(shares) + 1)
    each.bar(numbers, shares * 100, color=ACCENT, width=0.9)
    each.set_yscale("log")
    each.set(title="each component", xlabel="component", ylabel="% of the variance (log)")
    sums.plot(numbers, np.cumsum(shares) * 100, color=ACCENT, linewidth=2)
    sums.set(title="all up to it", xlabel="components", ylabel="% of the variance", ylim=(0, 103))
    sums.grid(alpha=0.3)
    for axes in (each, sums):
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    alt = f"{len(shares)} components explain {shares.sum():.1%} of the variance"
    return Image(buffer.getvalue(), format="png", alt=alt, width=760)


def preprocessing(content: bytes, pixels: Pixels) -> list[tuple[bytes | None, str]]:
    """A photo on its way to the network: the file, the decoded ``pixels``, the planes that are read.

    Grey is 0, the mean of ImageNet; the first is None where Pillow alone cannot open the file.
    """
    stored, caption = None, "the file"
    with suppress(OSError), Pillow.open(io.BytesIO(content)) as image:
        caption = f"the file, as stored\n{image.format}, {image.width} × {image.height}"
        image.draft("RGB", (400, 400))
        image.thumbnail((400, 400))
        stored = _encoded(image.convert("RGB"))
    upright = f"decoded, upright, squashed\n{pixels.shape[1]} × {pixels.shape[0]}"
    planes = np.moveaxis(vgg16_input(pixels[None])[0], -1, 0)
    shown = (planes + 128).clip(0, 255).astype(np.uint8)
    names = ("blue − 103.939", "green − 116.779", "red − 123.68")
    means = [
        f"{name}\non average {plane.mean():.1f}" for name, plane in zip(names, planes, strict=True)
    ]
    return [(stored, caption), (jpeg(pixels), upright), *zip(map(jpeg, shown), means, strict=True)]


def lying(pixels: Pixels) -> bytes:
    """The photo as a phone held sideways stores it: a quarter turned, with a note in EXIF."""
    exif = Pillow.Exif()
    exif[ExifTags.Base.Orientation] = 6  # "turn it a quarter clockwise"
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).rotate(90).save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()


def jpeg(pixels: Pixels) -> bytes:
    """RGB or grey pixels as a file."""
    return _encoded(Pillow.fromarray(pixels))


def thumbnails(
    spark: SparkSession, bucket: str, keys: Sequence[str], side: int
) -> list[bytes | None]:
    """Each photo as a small square JPEG, made in tasks; None where it is gone or cannot be decoded.

    The photos themselves, megabytes each, never reach the driver.
    """

    def small(key: str) -> bytes | None:
        try:
            return jpeg(decode(objects.get(bucket, key, MAX_BYTES).data, side).pixels)
        except PhotoError:
            return None

    tasks = max(1, min(len(keys), 2 * spark.sparkContext.defaultParallelism))
    return list(spark.sparkContext.parallelize(keys, tasks).map(small).collect())


def _figures(row: Iterable[tuple[bytes | None, str]], side: int) -> str:
    return "".join(
        f"<figure style='{_FIGURE.format(side=side)}'>{_picture(data, caption, side)}"
        f"<figcaption>{'<br>'.join(map(_text, caption.splitlines()))}</figcaption></figure>"
        for data, caption in row
    )


def _picture(data: bytes | None, caption: str, side: int) -> str:
    if data is None:
        return f"<div style='width:{side}px;height:{side}px;border:1px dashed #999'></div>"
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    alt = _text(caption.replace("\n", ", "))
    return f"<img src='{source}' alt='{alt}' style='width:{side}px;height:{side}px;object-fit:contain'>"


def _cell(value: object) -> str:
    if isinstance(value, int | np.integer):
        text = f"{value:,}"
    elif isinstance(value, float | np.floating):
        number = float(value)
        text = (
            f"{number:.3g}" if abs(number) < 0.1 else f"{number:.{3 if abs(number) < 10 else 1}f}"
        )
    else:
        return f"<td style='text-align:left'>{_text(str(value))}</td>"
    return f"<td style='text-align:right'>{text}</td>"


def _text(text: str) -> str:
    return escape(printable(text))


def _css(colour: tuple[float, float, float]) -> str:
    return f"rgb({', '.join(str(round(255 * part)) for part in colour)})"


def _encoded(image: Pillow.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
