"""The proxy's process: ports that lead to S3 and SQS, faults on the way, and stops at boundaries.

It is driven through a pipe, see :class:`tests.soak.proxy.Proxy`, and ends when that closes.
"""

import contextlib
import http.client
import itertools
import os
import select
import signal
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

from tests.soak import faults
from tests.soak.boundaries import RECEIVED, Request, boundary_of, has_messages
from tests.soak.faults import Faults

HOST = "127.0.0.1"
UPSTREAM_SECONDS = 90.0
RELEASE_SECONDS = 30.0  # for a kill at a boundary
_HOPS = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}
_RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: closing sends RST


class Reset(Exception):
    """The connection is to be reset."""


class Proxying:
    """What all ports share."""

    def __init__(self, target: str, pipe: Connection, found: Faults) -> None:
        self.target = urlsplit(target)
        self.faults = found
        self.armed: dict[str, list[tuple[int, str]]] = {}  # boundary -> (order, moment)
        self.expired: set[str] = set()  # ports by name
        self.counts: Counter[str] = Counter()  # faults by kind
        self.calls = 0
        self.lock = threading.Lock()
        self._denied: dict[str, float] = {}  # photos, until when
        self._pipe = pipe
        self._hits = itertools.count()
        self._held: dict[int, threading.Event] = {}
        self._ports: dict[str, Port] = {}

    def tell(self, *message: object) -> None:
        with self.lock, contextlib.suppress(OSError):
            self._pipe.send(message)

    def serve(self) -> None:
        """Obey the pipe until it closes."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                name, *arguments = self._pipe.recv()
                getattr(self, f"on_{name}")(*arguments)

    def on_open(self, name: str) -> None:
        port = self._ports[name] = Port(self, name)
        threading.Thread(target=port.serve_forever, args=(0.05,), daemon=True).start()
        self.tell("opened", name, port.server_port)

    def on_close(self, name: str) -> None:
        port = self._ports.pop(name)
        threading.Thread(target=port.end, daemon=True).start()

    def on_arm(self, order: int, boundary: str, moment: str) -> None:
        with self.lock:
            self.armed.setdefault(boundary, []).append((order, moment))

    def on_calm(self) -> None:
        """No faults and no stops any more."""
        with self.lock:
            self.armed.clear()
            self._denied.clear()
        self.faults.share = 0.0

    def on_expire(self, name: str) -> None:
        self.expired.add(name)

    def on_release(self, hit: int) -> None:
        if held := self._held.get(hit):
            held.set()

    def on_count(self) -> None:
        self.tell("counted", self.calls, dict(self.counts))

    def order_at(self, boundary: str | None) -> tuple[int, str] | None:
        """The order that is armed at a boundary; it is taken."""
        with self.lock:
            orders = self.armed.get(boundary or "")
            return orders.pop(0) if orders else None

    def stop_at(self, name: str, order: int) -> None:
        """Returns when the kill is done."""
        hit = next(self._hits)
        self._held[hit] = released = threading.Event()
        self.tell("hit", hit, name, order)
        released.wait(RELEASE_SECONDS)
        del self._held[hit]

    def fault_of(self, name: str, request: Request) -> str | None:
        with self.lock:
            self.calls += 1
            if name in self.expired:
                kind: str | None = "expired"
            elif request.is_photo and self._denied.get(request.key, 0) > time.monotonic():
                kind = "denied"
            else:
                kind = self.faults.draw(request)
                if kind == "denied":
                    self._denied[request.key] = time.monotonic() + faults.DENIED_SECONDS
            if kind:
                self.counts[kind] += 1
            return kind


class Port(ThreadingHTTPServer):
    """The way to S3 and SQS of one run of a service."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, proxying: Proxying, name: str) -> None:
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
        if self.command == "HEAD":
            return response.status, headers, b""
        return response.status, [each for each in headers if each[0].lower() not in _HOPS], data

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


def main(target: str, pipe: Connection, found: Faults) -> None:
    """Serve until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the soak ends this, when it needs it no more
    Proxying(target, pipe, found).serve()
    os._exit(0)
