"""The embedded AWS behind a server that records each request, and may refuse it or answer over TLS."""

import contextlib
import http.client
import os
import ssl
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from tests.support.endpoints import Request, Silent, aws_at, serving

Refusal = tuple[int, str]  # status, code


def refused(handler: Silent, status: int, code: str) -> None:
    """S3's error document."""
    error = f"<Error><Code>{code}</Code><Message>no &amp; no</Message></Error>".encode()
    handler.send(status, {"Content-Type": "application/xml"}, error)


def forward(handler: Silent, aws: str, body: bytes, *, whole: bool = True) -> None:
    """Send the request to the AWS at ``aws``, and what it answers back, or half of it."""
    connection = http.client.HTTPConnection(aws, timeout=60)
    with contextlib.closing(connection):
        connection.request(handler.command, handler.path, body, dict(handler.headers))
        answer = connection.getresponse()
        data = answer.read()
        sent = None if whole else len(data) // 2
        handler.send(answer.status, dict(answer.getheaders()), data, sent)


@contextlib.contextmanager
def forwarding(
    refuse: Callable[[Request], Refusal | None] = lambda _: None,
    tls: ssl.SSLContext | None = None,
    breaks_off: Callable[[Request], bool] = lambda _: False,
) -> Iterator[tuple[str, list[Request]]]:
    """A URL that leads to the AWS of ``AWS_ENDPOINT_URL``, and the requests that it got.

    Of a response that ``breaks_off`` half the body comes.
    """
    requests: list[Request] = []
    aws = urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc

    class Forwards(Silent):
        protocol_version = "HTTP/1.1"  # or botocore waits a second before it sends a body
        disable_nagle_algorithm = True

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.path, self.headers, self.command, body)
            requests.append(request)
            refusal = refuse(request)
            if refusal:
                refused(self, *refusal)
            else:
                forward(self, aws, body, whole=not breaks_off(request))

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    with serving(Forwards, tls) as url:
        yield url, requests


@contextlib.contextmanager
def s3_refuses(refuse: Callable[[Request], Refusal | None]) -> Iterator[list[Request]]:
    """Direct the clients of this process to an S3 that refuses some requests; yields all."""
    with forwarding(refuse) as (url, requests), aws_at(url):
        yield requests
