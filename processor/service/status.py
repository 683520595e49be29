"""The report: the state of queue, store and matrix, and all that is known of one photo.

Read from S3 and SQS alone, so it works from any machine, whether or not the service runs.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.compute as pc
from botocore.exceptions import BotoCoreError, ClientError
from deltalake import DeltaTable

from common.config import Config
from processor.matrix import matrix, models
from processor.photos import objects
from processor.service.preflight import find_queue
from processor.store import datafiles, delta

HISTORY = 50  # commits to look back for the last micro-batch


def status(config: Config) -> dict[str, Any]:
    """The state of everything, as one JSON-able object; see the README for its fields."""
    uri = store_uri(config)
    features = delta.open_table(f"{uri}features")
    rejects = delta.open_table(f"{uri}rejects")
    return {
        "photos": delta.rows(features) if features else 0,
        "rejects": delta.rows(rejects) if rejects else 0,
        "queue": _queue(config),
        "features": {
            "uri": f"{uri}features",
            "version": features.version() if features else None,
            "files": len(delta.paths(features)) if features else 0,
            "model": features.metadata().description if features else None,
        },
        "reduced": _reduced(uri),
        "last_batch": _last_batch(features) if features else None,
    }


def why(config: Config, key: str) -> dict[str, Any]:
    """All that is known of one photo: in S3, in the store, in the matrix, and what follows from it."""
    uri = store_uri(config)
    reduced = _row(f"{uri}reduced", key)
    axes = [value for name, value in (reduced or {}).items() if name.startswith("pc")]
    known = {
        "key": key,
        "s3": _in_s3(config.storage.bucket, key),
        "features": _row(f"{uri}features", key, without=("features",)),
        "reject": _row(f"{uri}rejects", key),
        "reduced": axes or None,
    }
    return {**known, "verdict": _verdict(known, config)}


def store_uri(config: Config) -> str:
    """The URI that the names of the store's tables are put behind."""
    return f"s3://{config.storage.bucket}/{config.storage.store_prefix}"


def _queue(config: Config) -> dict[str, int | None]:
    sqs = boto3.client("sqs")

    def count(name: str, setting: str) -> tuple[int, int]:
        attributes = sqs.get_queue_attributes(
            QueueUrl=find_queue(name, setting),
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateNumberOfMessagesDelayed",
            ],
        )["Attributes"]
        waiting = int(attributes["ApproximateNumberOfMessages"])
        delayed = int(attributes.get("ApproximateNumberOfMessagesDelayed", 0))
        return waiting + delayed, int(attributes["ApproximateNumberOfMessagesNotVisible"])

    visible, in_flight = count(config.queue.name, "queue.name")
    dead, dead_in_flight = count(config.queue.dead_letter_name, "queue.dead_letter_name")
    return {
        "visible": visible,
        "in_flight": in_flight,
        "dead_letters": dead + dead_in_flight,
        "oldest_seconds": _oldest(config.queue.name) if visible + in_flight else 0,
    }


def _oldest(queue: str) -> int | None:
    """The age that CloudWatch knows; None where it knows none. SQS itself does not tell."""
    now = datetime.now(UTC)
    try:
        points = boto3.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": queue}],
            StartTime=now - timedelta(minutes=15),
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
    except (ClientError, BotoCoreError):
        return None
    newest = max(points, key=lambda point: point["Timestamp"], default=None)
    return int(newest["Maximum"]) if newest else None


def _reduced(uri: str) -> dict[str, Any]:
    table = delta.open_table(f"{uri}reduced")
    described: dict[str, Any] = {
        "uri": f"{uri}reduced",
        "version": None,
        "rows": 0,
        "components": 0,
        "features_version": None,
        "explained_variance": None,
        "model": None,
    }
    if table is None:
        return described
    name = matrix.model_name(table)
    model = models.read(uri, name) if name else None
    return described | {
        "version": table.version(),
        "rows": delta.rows(table),
        "components": sum(field.name.startswith("pc") for field in table.schema().fields),
        "features_version": table.transaction_version(matrix.MIRRORS),
        "explained_variance": float(model.explained_variance_ratio_.sum()) if model else None,
        "model": name,
    }


def _last_batch(features: DeltaTable) -> dict[str, Any] | None:
    for entry in features.history(HISTORY):
        if "batch" in entry:
            at = datetime.fromtimestamp(entry["timestamp"] / 1000, UTC)
            return {"id": entry["batch"], "photos": entry["photos"], "at": at.isoformat()}
    return None


def _in_s3(bucket: str, key: str) -> dict[str, Any] | None:
    try:
        answer = datafiles.s3().head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise
    return {
        "version": objects.version_of(answer),
        "bytes": answer["ContentLength"],
        "modified": answer["LastModified"].isoformat(),
    }


def _row(folder: str, key: str, without: tuple[str, ...] = ()) -> dict[str, Any] | None:
    table = delta.open_table(folder)
    if table is None:
        return None
    dataset = table.to_pyarrow_dataset()
    columns = [name for name in dataset.schema.names if name not in without]
    found: pa.Table = dataset.to_table(columns=columns, filter=pc.field("key") == key)
    return found.to_pylist()[0] if len(found) else None


def _verdict(known: Mapping[str, Any], config: Config) -> str:
    now, row, reject = known["s3"], known["features"], known["reject"]
    if not known["key"].startswith(config.storage.photos_prefix):
        return f"not a photo of this service: keys begin with {config.storage.photos_prefix!r}"
    if row and now and row["version"] == now["version"]:
        return "stored, up to date" + ("" if known["reduced"] else "; not yet in the matrix")
    if row:
        change = "was overwritten" if now else "was removed"
        return f"the photo {change} after its row was stored; the event of it is still to come"
    if reject:
        return f"rejected: {reject['reason']}: {reject['detail']}"
    if now:
        return "in S3, but neither stored nor rejected: its event is queued, or was missed"
    return "unknown: neither in S3 nor in the store"
