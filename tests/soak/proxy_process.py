"""The proxy's process: ports that lead to S3 and SQS, faults on the way, and stops at boundaries.

It is driven through a pipe, see :class:`tests.soak.proxy.Proxy`, and ends when that closes.
"""

import contextlib
import itertools
import os
import signal
import threading
import time
from collections import Counter
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

from tests.soak import faults
from tests.soak.boundaries import Request
from tests.soak.faults import Faults
from tests.soak.proxy_port import Port

RELEASE_SECONDS = 30.0  # for a kill at a boundary


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


def main(target: str, pipe: Connection, found: Faults) -> None:
    """Serve until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the soak ends this, when it needs it no more
    Proxying(target, pipe, found).serve()
    os._exit(0)
