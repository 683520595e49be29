"""Endpoints that replace AWS where the embedded one behaves too well."""

import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from common.aws import forget

NOBODY = "http://127.0.0.1:9"  # nobody listens


class Silent(BaseHTTPRequestHandler):
    """A handler that logs nothing."""

    def log_message(self, *_: object) -> None:
        pass

    def send(
        self, status: int, headers: Mapping[str, str], body: bytes, sent: int | None = None
    ) -> None:
        """Send a response; its body only if the request is no HEAD, ``sent`` bytes of it or all."""
        whole = {"Content-Length": str(len(body))} if self.command != "HEAD" else {}
        skipped = {name.lower() for name in whole} | {"transfer-encoding", "connection"}
        kept = {name: headers[name] for name in headers if name.lower() not in skipped}
        self.send_response_only(status)
        for name, value in (kept | whole).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])
        self.close_connection = self.close_connection or sent is not None


class Denies(Silent):
    """An AWS that allows nothing."""

    def answer(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send(403, {"Content-Type": "application/xml"}, body)

    do_GET = do_HEAD = do_PUT = do_POST = answer


@dataclass(frozen=True)
class Body:
    """An object in S3's response: ``sent`` bytes of it, then the connection closes, or is silent."""

    data: bytes
    etag: str
    sent: int | None = None
    silent: bool = False


@contextmanager
def serving(
    handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """The URL of a server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        run = partial(server.serve_forever, poll_interval=0.01)  # how soon a shutdown is seen
        threading.Thread(target=run, daemon=True).start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
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

    class Sends(Silent):
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


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    target: str
    headers: Message
    method: str = "GET"
    body: bytes = b""

    @property
    def is_native(self) -> bool:
        """Whether obstore or delta-rs sent it, not botocore."""
        return str(self.headers["User-Agent"]).startswith("object_store/")

    @property
    def access_key(self) -> str:
        return str(self.headers["Authorization"]).partition("Credential=")[2].partition("/")[0]


def naming_targets(requests: list[Request]) -> type[Silent]:
    """An S3 with any object: its bytes are the target that was requested, as it was sent."""

    class Names(Silent):
        def do_GET(self) -> None:
            requests.append(Request(self.path, self.headers))
            headers = {"ETag": '"1"', "Last-Modified": "Sun, 22 Nov 2026 12:00:00 GMT"}
            self.send(200, headers, self.path.encode())

    return Names


@contextmanager
def s3_names_targets() -> Iterator[list[Request]]:
    """Direct the clients of this process to an S3 that :func:`naming_targets`; yields all requests."""
    requests: list[Request] = []
    with serving(naming_targets(requests)) as url, aws_at(url):
        yield requests
