"""Boundaries, recognised by the requests of a service."""

import pytest

from tests.soak.boundaries import Request, boundary_of, has_messages

COMMIT = "/bucket/%s/_delta_log/00000000000000000007.json"
ROWS = b'{"commitInfo":{}}\n{"add":{"path":"a","dataChange":true}}'
NO_ROWS = b'{"add":{"path":"a","dataChange":false}}\n{"remove":{"path":"b","dataChange":false}}\n'


@pytest.mark.parametrize(
    ("method", "target", "body", "boundary"),
    [
        ("GET", "/bucket/photos/a%20b/c%2B.jpg", b"", "computing"),
        ("HEAD", "/bucket/photos/a.jpg", b"", None),
        ("GET", "/bucket?list-type=2&prefix=photos/", b"", None),
        ("PUT", "/bucket/features/part-0.parquet", b"PAR1", "written"),
        ("PUT", "/bucket/features/part-0.parquet?partNumber=1&uploadId=x", b"PAR1", "written"),
        ("GET", "/bucket/features/part-0.parquet", b"", None),
        ("PUT", COMMIT % "features", ROWS, "committed"),
        ("PUT", COMMIT % "features", NO_ROWS, "compaction"),
        ("PUT", COMMIT % "rejects", ROWS, "rejected"),
        ("PUT", COMMIT % "pending", ROWS, "noted"),
        ("PUT", COMMIT % "reduced", ROWS, "matrix"),
        ("PUT", "/bucket/features/_delta_log/_last_checkpoint", b"{}", None),
        ("PUT", "/bucket/reduced/model/part-0.parquet", b"PAR1", "projected"),
        ("PUT", "/bucket/models/pca/20261122-7-ab.npz", b"PK", "refit"),
        ("PUT", "/bucket/models/statistics.npz", b"PK", None),
        ("PUT", "/bucket/models/partial/ab/cd.npz", b"PK", "partial"),
        ("GET", "/bucket/models/partial/ab/cd.npz", b"", None),
        ("PUT", "/bucket/reports/map.parquet", b"PAR1", "map"),
        ("PUT", "/bucket/reports/latest.html", b"<!doctype html>", "report"),
        ("PUT", "/bucket/reduced.csv", b"key", "csv"),
        ("POST", "/bucket/reduced.csv?uploadId=x", b"", "csv"),
        ("POST", "/bucket/reduced.csv?uploads", b"", None),
    ],
)
def test_s3(method: str, target: str, body: bytes, boundary: str | None) -> None:
    assert boundary_of(Request(method, target, "", body)) == boundary


def test_sqs() -> None:
    def of(operation: str) -> str | None:
        return boundary_of(Request("POST", "/", operation, b"{}"))

    assert of("ReceiveMessage") == "received"
    assert of("DeleteMessageBatch") == "acknowledging"
    assert of("ChangeMessageVisibilityBatch") is None
    assert has_messages(b'{"Messages":[{"MessageId":"1"}]}')
    assert not has_messages(b"{}")
