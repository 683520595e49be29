"""Endpoints that replace AWS where the embedded one behaves too well."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from common.aws import forget

NOBODY = "http://127.0.0.1:9"  # nobody listens


class _Silent(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Denies(_Silent):
    """An AWS that allows nothing."""

    def answer(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(0 if self.command == "HEAD" else len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = answer


@dataclass(frozen=True)
class Body:
    """An object in S3's response: ``sent`` bytes of it, then the connection closes, or is silent."""

    data: bytes
    etag: str
    sent: int | None = None
    silent: bool = False


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of a server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextmanager
def aws_at(url: str) -> Iterator[None]:
    """Direct the clients of this process to ``url``, including the shared one of S3."""
    before = os.environ.get("AWS_ENDPOINT_URL", "")
    os.environ["AWS_ENDPOINT_URL"] = url
    forget()
    try:
        yield
    finally:
        os.environ["AWS_ENDPOINT_URL"] = before
        forget()


@contextmanager
def s3_sends(*bodies: Body) -> Iterator[list[Body]]:
    """An S3 that sends these bodies one after the other, then the last one again; yields those sent."""
    sent: list[Body] = []
    ended = threading.Event()

    class Sends(_Silent):
        def do_GET(self) -> None:
            body = bodies[min(len(sent), len(bodies) - 1)]
            sent.append(body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body.data)))
            self.send_header("ETag", f'"{body.etag}"')
            self.send_header("Last-Modified", "Sun, 22 Nov 2026 12:00:00 GMT")
            self.end_headers()
            self.wfile.write(body.data[: body.sent])
            self.wfile.flush()
            if body.silent:
                ended.wait(60)
            self.close_connection = True

    with serving(Sends) as url, aws_at(url):
        try:
            yield sent
        finally:
            ended.set()
