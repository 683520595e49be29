"""Boundaries: the instants of a service's work that a kill may be aimed at, as requests show them."""

import json
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

RECEIVED = "received"
BOUNDARIES = (
    RECEIVED,  # messages are on their way to the service
    "computing",  # a photo is read
    "written",  # a data file of features/, not committed yet
    "committed",  # features/
    "acknowledging",  # messages are deleted
    "rejected",  # rejects/ is committed
    "noted",  # pending/ is committed
    "compaction",  # a commit that changes no rows
    "refit",  # a PCA model
    "projected",  # a data file of reduced/
    "matrix",  # reduced/ is committed
    "csv",  # reduced.csv
    "partial",  # what a task of a refit or of the report hands over
    "map",  # the report's map, its page not yet
    "report",  # its page
)
_COMMIT = re.compile(r"(features|rejects|pending|reduced)/_delta_log/\d{20}\.json")
_COMMITTED = {
    "features": "committed",
    "rejects": "rejected",
    "pending": "noted",
    "reduced": "matrix",
}
_WRITTEN = (
    (re.compile(r"features/[^_].*\.parquet"), "written"),
    (re.compile(r"reduced/[^_].*\.parquet"), "projected"),
    (re.compile(r"models/pca/.*\.npz"), "refit"),
    (re.compile(r"reduced\.csv"), "csv"),
    (re.compile(r"models/partial/.*"), "partial"),
    (re.compile(r"reports/map\.parquet"), "map"),
    (re.compile(r"reports/latest\.html"), "report"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a service sends."""

    method: str
    target: str  # as sent: path and query
    operation: str  # of SQS; empty for S3
    body: bytes

    @property
    def is_sqs(self) -> bool:
        return bool(self.operation)

    @property
    def key(self) -> str:
        """The object's key, decoded; the bucket is in the path, because the host is an address."""
        return unquote(urlsplit(self.target).path).removeprefix("/").partition("/")[2]

    @property
    def is_photo(self) -> bool:
        return not self.is_sqs and self.key.startswith("photos/")


def boundary_of(request: Request) -> str | None:
    """The boundary that the request is at, if any.

    For :data:`RECEIVED` that is known only of the response, see :func:`has_messages`.
    """
    if request.is_sqs:
        named = {"ReceiveMessage": RECEIVED, "DeleteMessageBatch": "acknowledging"}
        return named.get(request.operation)
    query = urlsplit(request.target).query
    if request.method == "GET":
        return "computing" if request.is_photo else None
    if request.method != "PUT" and not (request.method == "POST" and "uploadId" in query):
        return None
    if commit := _COMMIT.fullmatch(request.key):
        return "compaction" if _changes_no_rows(request.body) else _COMMITTED[commit[1]]
    return next((name for what, name in _WRITTEN if what.fullmatch(request.key)), None)


def has_messages(response: bytes) -> bool:
    """Whether a response to ReceiveMessage has messages in it."""
    return b'"MessageId"' in response or b"<MessageId>" in response


def _changes_no_rows(commit: bytes) -> bool:
    actions = [json.loads(line) for line in commit.splitlines() if line.strip()]
    files = [each[kind] for each in actions for kind in ("add", "remove") if kind in each]
    return bool(files) and not any(each["dataChange"] for each in files)
