"""The summary: what was made and how fast, as a table, and how to read it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from common.printable import printable
from demo.progress import Tally, duration
from demo.results import FEATURES_FILE, MAP_FILE, MATRIX_FILE, REPORT_FILE, Results
from demo.weights import Choice

REJECTS_SHOWN = 5


def table(
    results: Results,
    choice: Choice,
    tally: Tally,
    seconds: Mapping[str, float],
    aws_cpu_seconds: float,
) -> str:
    """``seconds`` by step; those of the service's steps add up to its whole run."""
    rows = len(results.keys)
    service = sum(seconds[step] for step in ("service start", "features", "matrix"))
    steady = tally.steady_rate
    speeds = [f"{_rate(tally.photos / service)} from the service's start to its end"]
    if steady:
        speeds.append(f"{_rate(steady)} steady, after the first micro-batch")
    lines = [
        ("photos", f"{tally.photos:,} dropped into the bucket"),
        *_rejects(results),
        (
            "features",
            f"{_count(rows, 'row')} × {results.columns:,}, {_size(results.feature_bytes)}",
        ),
        (
            "matrix",
            f"{_count(rows, 'row')} × {_count(len(results.variance), 'component')} "
            f"with {results.variance.sum():.1%} of the variance",
        ),
        ("network", results.network),
        (
            "weights",
            choice.weights.source + ("" if choice.trained else " – UNTRAINED, see above"),
        ),
        ("time", " · ".join(f"{step} {duration(each)}" for step, each in seconds.items())),
        ("", f"total {duration(sum(seconds.values()))}"),
        ("photos/s", " · ".join(speeds)),
        ("embedded AWS", f"{duration(aws_cpu_seconds)} of processor time for S3 and SQS"),
    ]
    return _columns(lines)


def made(out: Path, components: int) -> str:
    """The files under ``out`` and a first look at them."""
    last = f" … pc{components}" if components > 1 else ""
    lines = [
        (f"{out / REPORT_FILE}", "the report: open it in a browser"),
        (f"{out / 'map.png'}", "the photos, laid out by the first two components"),
        (f"{out / MATRIX_FILE}", f"the reduced matrix: key, label, pc1{last}"),
        (f"{out / FEATURES_FILE}", "the features: one row per photo"),
        (f"{out / MAP_FILE}", "the report's map: points, neighbours and thumbnails"),
        (f"{out / 'service.log'}", "what the service did, as JSON lines"),
    ]
    hint = f"pandas.read_csv({str(out / MATRIX_FILE)!r}, index_col='key')"
    return f"{_columns(lines)}\n\nto read the matrix with pandas:  {hint}"


def _rejects(results: Results) -> list[tuple[str, str]]:
    if not results.rejects:
        return [("rejects", "none")]
    reasons = ", ".join(f"{count} {reason}" for reason, count in results.reasons.most_common())
    lines = [("rejects", f"{len(results.rejects):,}: {reasons}")]
    for reject in results.rejects[:REJECTS_SHOWN]:
        lines.append(("", f"{printable(reject['key'])}: {reject['detail']}"))
    if len(results.rejects) > REJECTS_SHOWN:
        lines.append(("", "… all of them in service.log, with their reasons"))
    return lines


def _columns(lines: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"  {name:<{width}}  {text}".rstrip() for name, text in lines)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _rate(photos_per_second: float) -> str:
    return f"{photos_per_second:.{1 if photos_per_second >= 1 else 2}f}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.0f} kB"
