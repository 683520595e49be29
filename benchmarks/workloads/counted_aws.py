"""The embedded AWS that counts its requests, whoever sends them: botocore, obstore, delta-rs, Arrow.

``python -m benchmarks.workloads.counted_aws PORT`` is its server; :class:`CountedAws` starts it and
reads the counts. Requests are counted under the access key that signed them, so those of the
benchmark itself (uploads, deployment) can be told from the service's.
"""

import io
import json
import re
import threading
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote
from wsgiref.types import StartResponse, WSGIEnvironment

from benchmarks.harness.counted import Count, Counts, Key
from infra_scripts.embedded import EmbeddedAws, server

COUNTED_PATH = "/_counted_requests"
SQS_CHUNK = 64 << 10  # bytes that SQS bills as one request
EVENT_BYTES = 26  # that CloudWatch Logs adds to each event
_SIGNED = re.compile(r"Credential=([^/]+)/[^/]+/[^/]+/([^/]+)/")
_AGENTS = {"object_store": "object_store", "Botocore": "botocore", "Boto3": "botocore"}


class CountedAws(EmbeddedAws):
    """The embedded AWS; whoever signs with the access key ``SERVICE`` is counted."""

    SERVER = "benchmarks.workloads.counted_aws"
    SERVICE = "service"

    def of_service(self, environment: Mapping[str, str]) -> dict[str, str]:
        """As :meth:`over`, with the access key whose requests are counted."""
        return self.over(environment) | {"AWS_ACCESS_KEY_ID": self.SERVICE}

    def counts(self) -> Counts:
        """The service's requests so far."""
        with urllib.request.urlopen(f"{self.endpoint_url}{COUNTED_PATH}") as answer:
            return Counts.parse(answer.read().decode())


class Counting:
    """A WSGI application that counts what passes through it to another one."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self._counts: dict[Key, Count] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == COUNTED_PATH:
            with self._lock:
                body = Counts(dict(self._counts)).dump().encode()
            start_response("200 OK", [("Content-Length", str(len(body)))])
            return [body]
        signed = _SIGNED.search(environ.get("HTTP_AUTHORIZATION", ""))
        if signed is None or signed[1] != CountedAws.SERVICE:
            counted: Iterable[bytes] = self._inner(environ, start_response)
            return counted
        sent = environ["wsgi.input"].read()
        environ["wsgi.input"] = io.BytesIO(sent)
        answer = b"".join(self._inner(environ, start_response))
        key = (_client(environ), signed[2], *_operation(signed[2], environ, sent))
        with self._lock:
            before = self._counts.get(key, Count())
            self._counts[key] = before.plus(_count(key, sent, answer))
        return [answer]


def _client(environ: WSGIEnvironment) -> str:
    agent = environ.get("HTTP_USER_AGENT", "")
    return next((name for part, name in _AGENTS.items() if part in agent), agent[:14] or "unnamed")


def _operation(service: str, environ: WSGIEnvironment, sent: bytes) -> tuple[str, str]:
    """The operation, and of S3's also the place: photos, a table, its log, single objects."""
    if service == "s3":
        return _s3_operation(environ)
    target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
    path = environ["PATH_INFO"].rpartition("/operation/")[2]
    action = parse_qs(sent.decode("utf-8", "replace")).get("Action", [path])
    return target or action[0], ""


def _s3_operation(environ: WSGIEnvironment) -> tuple[str, str]:
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    key = unquote(environ["REQUEST_URI"].partition("?")[0]).lstrip("/").partition("/")[2]
    method = environ["REQUEST_METHOD"]
    if method == "POST" and "delete" in query:
        return "DELETE", _place(key)
    if method == "PUT" and "HTTP_X_AMZ_COPY_SOURCE" in environ:
        return "COPY", _place(key)
    if method == "GET" and not key:
        listed = "LIST" if {"list-type", "versions", "prefix"} & set(query) else "GET"
        return listed, _place(query.get("prefix", [""])[0])
    return method, _place(key)


def _place(key: str) -> str:
    first, _, rest = key.partition("/")
    if rest.startswith("_delta_log"):
        return f"{first}/_delta_log"
    return first or "(bucket)"


def _count(key: Key, sent: bytes, answer: bytes) -> Count:
    _, service, operation, _ = key
    if service == "logs" and operation == "PutLogEvents":
        events = json.loads(sent)["logEvents"]
        size = sum(len(each["message"].encode()) + EVENT_BYTES for each in events)
        return Count(1, 1, 0, size)
    billed = max(1, -(-max(len(sent), len(answer)) // SQS_CHUNK)) if service == "sqs" else 1
    empty = operation == "ReceiveMessage" and b'"Messages"' not in answer
    return Count(1, billed, int(empty), len(sent) + len(answer))


def main() -> None:
    application: Any = server  # untyped, so that the application can be replaced
    plain = server.Application
    application.Application = lambda: Counting(plain())
    server.main()


if __name__ == "__main__":
    main()
