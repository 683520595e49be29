"""Responses of S3 that the embedded AWS does not produce."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.support.endpoints import Silent, aws_at, serving
from tests.support.forwarded import forward


@contextlib.contextmanager
def s3_answers(
    status: int,
    code: str,
    key: str,
    healed: threading.Event | None = None,
    *,
    method: str = "",
    times: int = sys.maxsize,
) -> Iterator[list[str]]:
    """S3 answers requests for ``key`` with an error, HEAD without a body; yields their methods.

    ``key`` is the end of a path as it is in a URL. Only requests by ``method``, if given, only so many
    ``times``, and only until S3 is ``healed``. All others reach the AWS that ``AWS_ENDPOINT_URL`` names;
    clients must be made by ``common.aws``.
    """
    asked: list[str] = []
    aws = urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc
    error = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()

    # delta-rs waits for the body of a HEAD without a length.
    headers = {"Content-Type": "application/xml", "Content-Length": str(len(error))}

    class Answers(Silent):
        protocol_version = "HTTP/1.1"  # botocore waits a second for the 100-continue of older ones

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            meant = urlsplit(self.path).path.endswith(key) and method in ("", self.command)
            broken = not (healed and healed.is_set()) and len(asked) < times
            if meant and broken:
                asked.append(self.command)
                self.send(status, headers, error)
                return
            forward(self, aws, body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    with serving(Answers) as url, aws_at(url):
        yield asked
