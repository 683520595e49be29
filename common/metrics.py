"""The metrics of the service, and the log lines from which CloudWatch extracts them.

A line is a document in CloudWatch's embedded metric format, which allows members besides the metrics':
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
So metrics cost no call of an API, and cannot be away while the log is there. What SQS and EC2 measure
themselves (backlog, age of the oldest message, credits) is not repeated here.

`docs/metrics.md` has the list as a table.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

NAMESPACE: Final = "Fruits"
QUEUE: Final = "Queue"  # the one dimension of all: the queue's name, which names the pipeline
REASON: Final = "Reason"  # the second dimension of those that are also counted by reason
MAX_VALUES: Final = 100  # of one metric in a document

Value = float | Sequence[float] | Mapping[str, float]  # a number, several, or one for each reason


class Question(StrEnum):
    """What an operator wants to know first; each metric helps to answer one."""

    KEEPING_UP = "Is it keeping up?"
    WRONG = "Is anything wrong?"
    WHERE = "Where?"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``statistics`` are those that mean something; the first is the one to look at."""

    name: str
    unit: str  # CloudWatch's
    statistics: tuple[str, ...]
    question: Question
    description: str
    by_reason: bool = False


_SUM = ("Sum",)
_MAXIMUM = ("Maximum",)
_UP, _WRONG, _WHERE = Question.KEEPING_UP, Question.WRONG, Question.WHERE

PHOTOS = Metric("Photos", "Count", _SUM, _UP, "rows stored, of new or replaced photos")
HANDLED = Metric(
    "Handled",
    "Count",
    _SUM,
    _UP,
    "photos whose outcome, whichever it is, became durable; where a micro-batch is repeated, again",
)
RATE = Metric(
    "PhotosPerSecond",
    "Count/Second",
    ("Average", "Maximum"),
    _UP,
    "photos handled in a micro-batch, over its duration",
)
UPLOAD_TO_ROW = Metric(
    "UploadToRow",
    "Seconds",
    ("p50", "p95", "Maximum"),
    _UP,
    "from a photo's upload, by S3's clock, until its row is durable",
)
MATRIX_BEHIND = Metric(
    "MatrixBehind",
    "Seconds",
    _MAXIMUM,
    _UP,
    "how long the oldest change of features/ that is not in reduced/ yet has waited",
)
HEARTBEAT = Metric(
    "Heartbeat", "Count", _SUM, _UP, "1 for each minute in which the service made progress"
)
REJECTS = Metric(
    "Rejects",
    "Count",
    _SUM,
    _WRONG,
    "photos newly rejected, because of what is in their bytes",
    by_reason=True,
)
PENDING = Metric(
    "Pending", "Count", _MAXIMUM, _WRONG, "photos that wait in pending/ to be tried again"
)
WORKER_DEATHS = Metric(
    "WorkerDeaths", "Count", _SUM, _WRONG, "worker processes that died over photos"
)
FINDINGS = Metric(
    "ReconciliationFindings",
    "Count",
    _SUM,
    _WRONG,
    "photos in which a reconciliation found that bucket and store differ",
)
RECONCILIATION_AGE = Metric(
    "ReconciliationAge",
    "Seconds",
    _MAXIMUM,
    _WRONG,
    "since the last reconciliation of the whole bucket ended",
)
MEMORY_USED = Metric(
    "MemoryUsed",
    "Percent",
    ("Average", "Maximum"),
    _WRONG,
    "of the memory that the service may use, what cannot be reclaimed; of the machine's where that "
    "is scarcer",
)
DISK_USED = Metric("DiskUsed", "Percent", _MAXIMUM, _WRONG, "of the file system of work_dir")
REMOVED = Metric(
    "Removed", "Count", _SUM, _WHERE, "rows removed, because their photo is gone or bad"
)
DUPLICATES = Metric(
    "Duplicates",
    "Count",
    _SUM,
    _WHERE,
    "photos found stored already, of events that were redelivered or repeated",
)
COMMIT_SECONDS = Metric(
    "CommitSeconds",
    "Seconds",
    ("Average", "Maximum"),
    _WHERE,
    "for the outcomes of a micro-batch to become durable in the store",
)
REFIT_SECONDS = Metric(
    "RefitSeconds", "Seconds", _MAXIMUM, _WHERE, "for a refit: the fit and the whole matrix"
)
MATRIX_AGE = Metric(
    "MatrixAge", "Seconds", _MAXIMUM, _WHERE, "since the PCA of the matrix was fitted"
)
DRIFT = Metric(
    "Drift",
    "Percent",
    _MAXIMUM,
    _WHERE,
    "how far a refit moved the coordinates of a typical row, of their norm",
)
TABLE_FILES = Metric("TableFiles", "Count", _MAXIMUM, _WHERE, "data files of features/")
TABLE_BYTES = Metric("TableBytes", "Bytes", _MAXIMUM, _WHERE, "their size")

ALL: Final = (
    *(PHOTOS, HANDLED, RATE, UPLOAD_TO_ROW, MATRIX_BEHIND, HEARTBEAT),
    *(REJECTS, PENDING, WORKER_DEATHS, FINDINGS, RECONCILIATION_AGE, MEMORY_USED, DISK_USED),
    *(
        REMOVED,
        DUPLICATES,
        COMMIT_SECONDS,
        REFIT_SECONDS,
        MATRIX_AGE,
        DRIFT,
        TABLE_FILES,
        TABLE_BYTES,
    ),
)


def documents(queue: str, values: Mapping[Metric, Value], at: datetime) -> list[dict[str, Any]]:
    """The documents, to be logged as one line each, that give ``values`` to the metrics of ``queue``.

    The first has all of them; those by reason, as their sum. Each reason has another one after it,
    because a document can name but one value of a dimension. Of more than MAX_VALUES values, see
    :func:`order_statistics`. What is not a finite number is left out, and so is a document of nothing.
    """
    totals: dict[Metric, float | list[float]] = {}
    for metric, value in values.items():
        if isinstance(value, Mapping):
            totals[metric] = sum(value.values())
        elif isinstance(value, Sequence):
            if numbers := order_statistics(value):
                totals[metric] = numbers
        elif math.isfinite(value):
            totals[metric] = value
    found = [_document({QUEUE: queue}, totals, at)] if totals else []
    return found + [
        _document({QUEUE: queue, REASON: reason}, {metric: number}, at)
        for metric, value in values.items()
        if isinstance(value, Mapping)
        for reason, number in value.items()
    ]


def order_statistics(values: Iterable[float], most: int = MAX_VALUES) -> list[float]:
    """At most ``most`` of the finite values, in order and evenly spaced, with the least and greatest.

    So percentiles and extremes survive, but sums and counts do not.
    """
    ordered = sorted(filter(math.isfinite, values))
    if len(ordered) <= most:
        return ordered
    return [ordered[round(n * (len(ordered) - 1) / (most - 1))] for n in range(most)]


def _document(
    dimensions: Mapping[str, str], values: Mapping[Metric, float | list[float]], at: datetime
) -> dict[str, Any]:
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": each.name, "Unit": each.unit} for each in values],
    }
    return {
        "_aws": {"Timestamp": int(1000 * at.timestamp()), "CloudWatchMetrics": [directive]},
        **dimensions,
        **{metric.name: value for metric, value in values.items()},
    }
