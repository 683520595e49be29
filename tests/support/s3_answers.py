"""Responses of S3 that the embedded AWS does not produce."""

import contextlib
import http.client
import os
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.support.endpoints import Silent, aws_at, serving


@contextlib.contextmanager
def s3_answers(
    status: int, code: str, key: str, *, method: str = "", times: int = sys.maxsize
) -> Iterator[list[str]]:
    """S3 answers requests for ``key`` with an error, HEAD without a body; yields their methods.

    ``key`` may be the end of it. Only requests by ``method``, if given, and only so many ``times``.
    All others reach the AWS that ``AWS_ENDPOINT_URL`` names; clients must be made by ``common.aws``.
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
            if meant and len(asked) < times:
                asked.append(self.command)
                self.send(status, headers, error)
                return
            connection = http.client.HTTPConnection(aws, timeout=60)
            with contextlib.closing(connection):
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                self.send(answer.status, dict(answer.getheaders()), answer.read())

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    with serving(Answers) as url, aws_at(url):
        yield asked
