"""Responses of S3 that the embedded AWS does not produce."""

import contextlib
import os
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.support.endpoints import Silent, aws_at, serving
from tests.support.forwarded import forward


@contextlib.contextmanager
def s3_answers(
    status: int, code: str, key: str, healed: threading.Event | None = None
) -> Iterator[list[str]]:
    """S3 answers requests for ``key`` with an error, HEAD without a body; yields their methods.

    ``key`` is the end of a path as it is in a URL. Once it is ``healed``, it is the AWS below.

    All other requests reach the AWS that ``AWS_ENDPOINT_URL`` names; clients must be made by
    ``common.aws``.
    """
    asked: list[str] = []
    aws = urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc
    error = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()

    class Answers(Silent):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            broken = healed is None or not healed.is_set()
            if broken and urlsplit(self.path).path.endswith(key):
                asked.append(self.command)
                self.send(status, {"Content-Type": "application/xml"}, error)
                return
            forward(self, aws, body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    with serving(Answers) as url, aws_at(url):
        yield asked
