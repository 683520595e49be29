"""An instance's metadata service, version 2, on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Metadata:
    """Answers as EC2 does. ``notice`` is the notice of interruption; ``tokens`` counts those made."""

    def __init__(self) -> None:
        self.notice: dict[str, str] | None = None
        self.broken = ""  # a body to answer instead
        self.tokens = 0
        self.requests: list[str] = []
        self.elsewhere = False  # not EC2's, but another cloud's

    def expire(self) -> None:
        self._token = ""

    def _answer(self, method: str, path: str, token: str | None) -> tuple[int, str]:
        self.requests.append(f"{method} {path}")
        if self.elsewhere:
            return 404, "no such page"
        if (method, path) == ("PUT", "/latest/api/token"):
            self.tokens += 1
            self._token = f"token-{self.tokens}"
            return 200, self._token
        if token != self._token:
            return 401, "unauthorized"
        if path != "/latest/meta-data/spot/instance-action":
            return 404, "not found"
        if self.broken:
            return 200, self.broken
        return (200, json.dumps(self.notice)) if self.notice else (404, "not found")


@contextmanager
def served() -> Iterator[tuple[Metadata, str]]:
    """A metadata service and its address."""
    metadata = Metadata()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            token = self.headers.get("X-aws-ec2-metadata-token")
            code, text = metadata._answer(self.command, self.path, token)
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield metadata, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
