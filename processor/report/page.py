"""The page: the report as one HTML file that needs nothing else, no network and no other file.

What it shows and how is written in JavaScript, in ``web/``; ``./run page`` builds it into ``built/``,
which is committed, so nothing here needs node. This module packs the values that it shows.

Keys, labels and details are strangers' texts. They travel as JSON in ASCII without a ``<``, or
compressed, never as HTML; the script makes text nodes of them, and the page's Content-Security-Policy
lets run nothing but that script, and fetch nothing at all.
"""

import base64
import dataclasses
import gzip
import hashlib
import html
import json
import math
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.printable import printable
from processor.report.advice import advice
from processor.report.points import Points
from processor.report.sheets import Sheets, sheets
from processor.report.spread import spread
from processor.report.summary import Group, Summary

MAX_BYTES = 20_000_000  # thumbnails become smaller, and then fewer, where a page would take more
NO_COSINE = -32768
COSINES = 10_000  # steps to 1
_BUILT = Path(__file__).parent / "built"
_POLICY = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; img-src data:; base-uri 'none'; "
    "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<noscript>This page draws itself with JavaScript, all of which it contains.</noscript>
"""
_TAIL = """<script>{script}</script>
</body>
</html>
"""


def page(summary: Summary, points: Points) -> str:
    """The page, in ASCII; at most ``MAX_BYTES`` with any thumbnails.

    It takes time for the thumbnails alone: they are decoded, and encoded in sheets.
    """
    points = dataclasses.replace(points, xy=np.nan_to_num(points.xy, nan=0, posinf=0, neginf=0))
    points = _in_order(points, spread(points.xy))
    names = [printable(name) for name, _ in Counter(points.labels).most_common()]
    columns = {
        "keys": _text(json.dumps([printable(key) for key in points.keys]).encode()),
        "labels": _numbers(_positions(points.labels), "<i4"),
        "xy": _numbers(points.xy, "<f4"),
        "neighbours": _numbers(points.neighbours, "<i4"),
        "cosines": _numbers(_steps(points.cosines), "<i2"),
    }
    script, style = (
        (_BUILT / name).read_text(encoding="ascii") for name in ("page.js", "page.css")
    )
    said = _summary(summary)
    spent = sum(map(len, [script, style, _json(said), *columns.values()]))
    made = sheets(points.thumbnails, (MAX_BYTES - spent - 100_000) * 3 // 4)
    columns["sizes"] = _numbers(made.sizes, "u1")
    shown = {"summary": said, "points": _about(points, names, made)}

    policy = _POLICY.format(script=_digest(script), style=_digest(style))
    title = html.escape(printable(f"{summary.bucket} – photos")).encode(
        "ascii", "xmlcharrefreplace"
    )
    data = [_data("shown", _json(shown))]
    data += [_data(name, column) for name, column in columns.items()]
    data += [_data(f"sheet-{n}", _base64(image)) for n, image in enumerate(made.images)]
    head = _HEAD.format(policy=policy, title=title.decode(), style=style)
    return "".join([head, *data, _TAIL.format(script=script)])


def _in_order(points: Points, order: NDArray[np.int64]) -> Points:
    """The same points in another order."""
    place = np.full(len(order) + 1, -1, np.int32)  # the last one for -1
    place[order] = np.arange(len(order), dtype=np.int32)
    return dataclasses.replace(
        points,
        keys=[points.keys[n] for n in order],
        labels=[points.labels[n] for n in order],
        xy=points.xy[order],
        neighbours=place[points.neighbours[order]],
        cosines=points.cosines[order],
        thumbnails=[points.thumbnails[n] for n in order],
    )


def _positions(labels: list[str]) -> NDArray[np.int32]:
    """Of each label among them all, the most frequent first."""
    position = {name: n for n, (name, _) in enumerate(Counter(labels).most_common())}
    return np.array([position[label] for label in labels], np.int32)


def _steps(cosines: NDArray[np.float32]) -> NDArray[np.int16]:
    known = np.isfinite(cosines)
    steps = np.round(np.where(known, cosines, 0).clip(-1, 1) * COSINES)
    return np.where(known, steps, NO_COSINE).astype(np.int16)


def _about(points: Points, names: list[str], made: Sheets) -> dict[str, Any]:
    return {
        "count": len(points.keys),
        "population": points.population,
        "labels": names,
        "home": _home(points.xy),
        "tile": made.tile,
        "across": made.across,
        "sheets": len(made.images),
    }


def _home(xy: NDArray[np.float32]) -> list[float]:
    """Left, bottom, right, top of what is seen first: all but outliers."""
    if not len(xy):
        return [0.0] * 4
    low, high = np.percentile(xy, (0.5, 99.5), axis=0)
    around = (high - low) / 4
    low, high = np.maximum(xy.min(axis=0), low - around), np.minimum(xy.max(axis=0), high + around)
    return [*map(float, low), *map(float, high)]


def _summary(summary: Summary) -> dict[str, Any]:
    return {
        "at": _time(summary.at),
        "bucket": printable(summary.bucket),
        "photos": summary.photos,
        "labels": [(printable(name), photos) for name, photos in summary.labels],
        "kinds": summary.kinds,
        "rejects": [_group(each) for each in summary.rejects],
        "pending": [_group(each) for each in summary.pending],
        "stored": [(_time(at), photos) for at, photos in summary.stored],
        "variance": [_finite(share) or 0 for share in summary.explained_variance],
        "captured": _finite(summary.captured),
        "fits": [
            {
                "name": printable(fit.name),
                "at": _time(fit.at),
                "photos": fit.photos,
                "why": printable(fit.why),
                "components": fit.components,
                "moved": _finite(fit.moved),
            }
            for fit in summary.fits
        ],
        "network": printable(summary.network),
        "versions": [(printable(name), printable(it)) for name, it in summary.versions.items()],
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "reason": printable(group.reason),
        "photos": group.photos,
        "advice": advice(group.reason),
        "examples": [(printable(key), printable(detail)) for key, detail in group.examples],
    }


def _time(at: datetime) -> int:
    """Seconds since 1970; without a time zone it is taken as UTC."""
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _json(value: Any) -> str:
    """ASCII that ends no script element, whatever is in it."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _numbers(values: NDArray[Any], kind: str) -> str:
    return _text(np.ascontiguousarray(values, dtype=kind).tobytes())


def _text(data: bytes) -> str:
    return _base64(gzip.compress(data, mtime=0))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _digest(text: str) -> str:
    return "sha256-" + _base64(hashlib.sha256(text.encode()).digest())


def _data(name: str, text: str) -> str:
    """A block of data: browsers run no script of this type."""
    return f'<script type="text/plain" id="data-{name}">{text}</script>\n'
