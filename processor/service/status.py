"""The status: the current state of queue, store and matrix.

Read from AWS alone, so it works on any machine, whether or not the service is running.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TypedDict

from common import aws, aws_errors
from common.layout import StoreLayout
from ingest.queue import Queue
from processor.matrix import models
from processor.matrix.mirror import mirrored_version, model_name
from processor.pipeline.reconciliation import last_pass
from processor.service.preflight import find_queue
from processor.store import delta
from processor.store.delta import Table

HISTORY = 50  # commits to look back for the last micro-batch


class QueueState(TypedDict):
    """Numbers of messages; ``oldest_seconds`` is None if CloudWatch does not have it."""

    visible: int
    in_flight: int
    dead_letters: int
    oldest_seconds: int | None


class PendingState(TypedDict):
    """The number of photos that wait to be tried again, in all and by reason."""

    photos: int
    reasons: dict[str, int]


class FeaturesState(TypedDict):
    """``model``: the model id of the network that computed the features."""

    uri: str
    version: int | None
    files: int
    model: str | None


class ReducedState(TypedDict):
    """``model``: the name of the matrix's PCA; ``explained_variance``: the share it explains, 0 to 1."""

    uri: str
    version: int | None
    rows: int
    components: int
    features_version: int | None
    explained_variance: float | None
    model: str | None


class LastBatch(TypedDict):
    """``id``: counted by its service from 0 at each start. ``at``: when it was committed, ISO 8601."""

    id: int
    photos: int
    at: str


class ReconciliationState(TypedDict):
    """The last comparison of the whole bucket with the store; times in ISO 8601, counts of photos."""

    began: str
    at: str
    finished: bool
    objects: int
    differences: dict[str, int]


class Status(TypedDict):
    """What ``python -m processor status --json`` prints."""

    photos: int
    rejects: int
    pending: PendingState
    queue: QueueState
    features: FeaturesState
    reduced: ReducedState
    last_batch: LastBatch | None
    reconciliation: ReconciliationState | None


def status(layout: StoreLayout, queue_name: str, dead_letter_name: str) -> Status:
    """The state of everything. Raises :class:`PreflightError` if a queue is missing or not allowed."""
    features = delta.open_table(layout.features)
    rejects = delta.open_table(layout.rejects)
    return {
        "photos": features.rows if features else 0,
        "rejects": rejects.rows if rejects else 0,
        "pending": _pending(layout),
        "queue": _queue(queue_name, dead_letter_name),
        "features": {
            "uri": layout.features,
            "version": features.table_version if features else None,
            "files": len(features.paths()) if features else 0,
            "model": (features.network or None) if features else None,
        },
        "reduced": _reduced(layout),
        "last_batch": _last_batch(features) if features else None,
        "reconciliation": _reconciliation(layout),
    }


def _pending(layout: StoreLayout) -> PendingState:
    table = delta.open_table(layout.pending)
    if table is None or not table.rows:
        return {"photos": 0, "reasons": {}}
    reasons = Counter(table.dataset().to_table(columns=["reason"])["reason"].to_pylist())
    return {"photos": table.rows, "reasons": dict(reasons.most_common())}


def _queue(name: str, dead_letter_name: str) -> QueueState:
    sqs = aws.client("sqs")
    waiting = Queue(sqs, find_queue(name, "queue.name")).depth()
    dead = Queue(sqs, find_queue(dead_letter_name, "queue.dead_letter_name")).depth()
    visible = waiting.visible + waiting.delayed
    return {
        "visible": visible,
        "in_flight": waiting.in_flight,
        "dead_letters": dead.total,
        "oldest_seconds": _oldest(name) if visible + waiting.in_flight else 0,
    }


def _oldest(queue_name: str) -> int | None:
    """The age of the oldest message, from CloudWatch, because SQS has none; None if unknown."""
    now = datetime.now(UTC)
    try:
        points = aws.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": queue_name}],
            StartTime=now - timedelta(minutes=15),
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
    except aws_errors.ERRORS:
        return None
    newest = max(points, key=lambda point: point["Timestamp"], default=None)
    return int(newest["Maximum"]) if newest else None


def _reduced(layout: StoreLayout) -> ReducedState:
    table = delta.open_table(layout.reduced)
    name = model_name(table) if table else None
    model = models.read(layout, name) if name else None
    return {
        "uri": layout.reduced,
        "version": table.table_version if table else None,
        "rows": table.rows if table else 0,
        "components": sum(each.startswith("pc") for each in table.columns.names) if table else 0,
        "features_version": mirrored_version(table) if table else None,
        "explained_variance": (float(model.pca.explained_variance_ratio_.sum()) if model else None),
        "model": name,
    }


def _reconciliation(layout: StoreLayout) -> ReconciliationState | None:
    last = last_pass(layout)
    if last is None:
        return None
    return {
        "began": last.began.isoformat(timespec="seconds"),
        "at": last.at.isoformat(timespec="seconds"),
        "finished": last.finished,
        "objects": last.objects,
        "differences": last.differences,
    }


def _last_batch(features: Table) -> LastBatch | None:
    for entry in features.history(HISTORY):
        if "batch" in entry:
            at = datetime.fromtimestamp(entry["timestamp"] / 1000, UTC)
            return {"id": entry["batch"], "photos": entry["photos"], "at": at.isoformat()}
    return None
