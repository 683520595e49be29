"""A port of the proxy: requests of one run of a service, passed on, failed, or held at a boundary."""

import contextlib
import http.client
import select
import socket
import struct
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.soak import faults
from tests.soak.boundaries import RECEIVED, Request, boundary_of, has_messages

if TYPE_CHECKING:
    from tests.soak.proxy_process import Proxying

HOST = "127.0.0.1"
UPSTREAM_SECONDS = 90.0
_HOPS = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}
_RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: closing sends RST


class Reset(Exception):
    """The connection is to be reset."""


class Port(ThreadingHTTPServer):
    """The way to S3 and SQS of one run of a service."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, proxying: "Proxying", name: str) -> None:
        super().__init__((HOST, 0), Handler)
        self.proxying = proxying
        self.name = name
        self.has_received = False
        self.open: set[socket.socket] = set()

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        self.close_request(request)  # a shutdown would send FIN before the RST of a reset

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        for each in list(self.open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A killed client is no error."""


class Handler(BaseHTTPRequestHandler):
    """A connection of a service, with one of its own to the AWS behind."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Port

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)
        self._upstream: http.client.HTTPConnection | None = None

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        if self._upstream:
            self._upstream.close()

    def log_message(self, *_: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except Reset:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        except (OSError, http.client.HTTPException):
            self.close_connection = True

    def answer(self) -> None:
        body = self._body()
        operation = (self.headers.get("X-Amz-Target") or "").partition("AmazonSQS.")[2]
        request = Request(self.command, self.path, operation, body)
        proxying, name = self.server.proxying, self.server.name
        if operation == "ReceiveMessage" and not self.server.has_received:
            self.server.has_received = True
            proxying.tell("receiving", name)
        boundary = boundary_of(request)
        order = proxying.order_at(boundary) if boundary != RECEIVED else None
        if order and order[1] == "before":
            proxying.stop_at(name, order[0])
            raise Reset
        fault = None if order else proxying.fault_of(name, request)
        if fault and fault not in faults.TAKES_EFFECT:
            self._fail(fault, request)
            return
        status, headers, sent = self._forward(body)
        if boundary == RECEIVED and has_messages(sent):
            order = proxying.order_at(boundary)
        if order:
            proxying.stop_at(name, order[0])
        if fault == "reset after" or (fault == "truncated" and len(sent) < 2):
            raise Reset
        self._send(status, headers, sent, truncated=fault == "truncated")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    def _body(self) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _fail(self, fault: str, request: Request) -> None:
        if fault == "reset before":
            raise Reset
        if fault in ("silence", "timeout"):
            proxying = self.server.proxying
            time.sleep(faults.TIMEOUT_SECONDS if fault == "timeout" else proxying.faults.silence())
            raise Reset
        error = faults.answer(fault, request)
        self._send(error.status, list(error.headers.items()), error.body)

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = self._connected()
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOPS:
                upstream.putheader(name, value)
        if body or self.command in ("PUT", "POST"):
            upstream.putheader("Content-Length", str(len(body)))
        upstream.endheaders(body or None)
        response = upstream.getresponse()
        data = response.read()
        headers = response.getheaders()
        told = {"content-length"} if self.command == "HEAD" else set()  # of the object, not of this
        kept = [each for each in headers if each[0].lower() not in _HOPS - told]
        return response.status, kept, data

    def _connected(self) -> http.client.HTTPConnection:
        """A connection that its other end has not closed meanwhile."""
        if self._upstream and self._upstream.sock:
            readable, _, _ = select.select([self._upstream.sock], [], [], 0)
            if readable:  # by its end
                self._upstream.close()
        if not self._upstream:
            target = self.server.proxying.target
            kind = http.client.HTTPConnection
            if target.scheme == "https":
                kind = http.client.HTTPSConnection
            self._upstream = kind(target.hostname or "", target.port, timeout=UPSTREAM_SECONDS)
        return self._upstream

    def _send(
        self,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
        *,
        truncated: bool = False,
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "connection":
                self.send_header(name, value)
        if self.command != "HEAD" and status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        elif not any(name.lower() == "content-length" for name, _ in headers) and status != 204:
            self.send_header("Content-Length", str(len(body)))  # an error document's, of a HEAD
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if truncated else body)
        if truncated:
            self.close_connection = True
