"""Responses of S3 that the embedded AWS does not produce."""

import contextlib
from collections.abc import Iterator
from typing import Any

from botocore.awsrequest import AWSRequest, AWSResponse

from common.aws import s3


@contextlib.contextmanager
def s3_answers(status: int, code: str, key: str, operation: str = "*") -> Iterator[list[str]]:
    """S3 answers requests for ``key`` with an error, HEAD without a body; yields their methods."""
    asked: list[str] = []

    def answer(request: AWSRequest, **_: Any) -> AWSResponse | None:
        if not request.url.endswith(key):
            return None
        asked.append(request.method)
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        sent = b"" if request.method == "HEAD" else body
        raw = type("Raw", (), {"stream": lambda *_, **__: iter([sent])})()
        return AWSResponse(request.url, status, {"content-type": "application/xml"}, raw)

    events = s3().meta.events
    events.register(f"before-send.s3.{operation}", answer)
    try:
        yield asked
    finally:
        events.unregister(f"before-send.s3.{operation}", answer)
