"""The files: the map and the page, put together from what other tasks have made; a Spark task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from processor.report import map_file, parts
from processor.report.draw import Drawn
from processor.report.points import NEIGHBOURS, Points
from processor.report.summary import Summary
from processor.store import objects
from processor.store.datafiles import KEY

PAGE_TYPE = "text/html; charset=utf-8"

Page = Callable[[Summary, Points], str]


@dataclass(frozen=True, slots=True)
class Targets:
    """The URIs of the two files."""

    page: str
    map: str


def write(
    drawn: Drawn,
    made: Sequence[str],
    folder: str,
    summary: Summary,
    page: Page,
    targets: Targets,
    about: Mapping[str, str],
) -> int:
    """Write the map, then the page, from parts in ``folder``; the bytes of both.

    Each is replaced whole, with ``about`` as its metadata. May be repeated. ``made`` are the parts with
    thumbnails. Memory: the points, both files, and what ``page`` takes.
    """
    table = parts.read(folder, drawn.part)
    points = _points(table, made, folder, drawn.population)
    body = map_file.encoded(points, table["version"].to_pylist(), about)
    objects.upload(targets.map, [body], map_file.TYPE, about, len(body))
    html = page(summary, points).encode()
    objects.upload(targets.page, [html], PAGE_TYPE, about, len(html))
    return len(body) + len(html)


def _points(table: pa.Table, made: Sequence[str], folder: str, population: int) -> Points:
    new: dict[str, bytes] = {}
    for name in made:
        part = parts.read(folder, name)
        new |= zip(part[KEY].to_pylist(), part["thumbnail"].to_pylist(), strict=True)
    keys = table[KEY].to_pylist()
    known = table["thumbnail"].to_pylist()
    return Points(
        keys,
        [label or "" for label in table["label"].to_pylist()],
        np.column_stack([table["pc1"].to_numpy(), table["pc2"].to_numpy()]),
        _lists(table["neighbours"]),
        _lists(table["cosines"]),
        [one or new.get(key, b"") for key, one in zip(keys, known, strict=True)],
        population,
    )


def _lists(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Lists of NEIGHBOURS each, (n, NEIGHBOURS)."""
    flat: npt.NDArray[Any] = column.combine_chunks().flatten().to_numpy()
    return flat.reshape(-1, NEIGHBOURS)
