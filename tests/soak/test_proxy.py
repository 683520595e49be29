"""The proxy: passes on, injects each kind of fault, and holds a request until a kill is done."""

import http.client
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.soak.faults import WEIGHTS, Faults
from tests.soak.proxy import Proxy
from tests.support.endpoints import Silent, serving

BODY = b"0123456789"
MESSAGES = b'{"Messages":[{"MessageId":"1"}]}'
SQS = {"X-Amz-Target": "AmazonSQS.ReceiveMessage"}


class Aws:
    """An AWS that remembers what took effect."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, bytes]] = []
        self.messages = b"{}"


@pytest.fixture
def aws() -> Iterator[Aws]:
    found = Aws()

    class Takes(Silent):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found.requests.append((self.command, self.path, body))
            is_sqs = self.headers.get("X-Amz-Target")
            self.send(200, {"ETag": '"1"'}, found.messages if is_sqs else BODY)

        do_GET = do_HEAD = do_PUT = do_POST = answer

    with serving(Takes) as found.url:
        yield found


class Hits:
    """The hits of a proxy, each held until it is released."""

    def __init__(self) -> None:
        self.come: queue.Queue[tuple[str, int]] = queue.Queue()
        self.done = threading.Event()
        self.receiving: queue.Queue[str] = queue.Queue()

    def __call__(self, port: str, order: int) -> None:
        self.come.put((port, order))
        self.done.wait(30)


def proxied(aws: Aws, **weights: float) -> tuple[Proxy, Hits]:
    hits = Hits()
    found = Faults(1, 1.0 if weights else 0.0, weights)
    return Proxy(aws.url, found, hits, hits.receiving.put), hits


def ask(url: str, method: str, path: str, body: bytes = b"", headers=None, timeout=10.0):
    """Status, body; raises what a client would."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout)
    with closing(connection):
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()


def put_chunked(url: str) -> int:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    with closing(connection):
        headers = {"Transfer-Encoding": "chunked"}
        connection.request("PUT", "/b/k", iter([b"ab", b"cd"]), headers, encode_chunked=True)
        return connection.getresponse().status


def test_it_passes_on(aws: Aws) -> None:
    proxy, hits = proxied(aws)
    with proxy:
        url = proxy.open("alpha-1")
        assert ask(url, "GET", "/b/a%20b?x=1") == (200, BODY)
        assert ask(url, "HEAD", "/b/k") == (200, b"")
        assert ask(url, "PUT", "/b/k", b"new") == (200, BODY)
        assert put_chunked(url) == 200
        assert proxy.counts() == (4, {})
        assert hits.receiving.empty()
        assert ask(url, "POST", "/", b"{}", SQS) == (200, b"{}")
        assert ask(url, "POST", "/", b"{}", SQS) == (200, b"{}")
        assert hits.receiving.get(timeout=10) == "alpha-1"
        assert hits.receiving.empty()
    assert aws.requests[:4] == [
        ("GET", "/b/a%20b?x=1", b""),
        ("HEAD", "/b/k", b""),
        ("PUT", "/b/k", b"new"),
        ("PUT", "/b/k", b"abcd"),
    ]


def test_a_closed_port_is_closed(aws: Aws) -> None:
    proxy, _ = proxied(aws)
    with proxy:
        url = proxy.open("alpha-1")
        open_one = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        with closing(open_one):
            open_one.request("GET", "/b/k")
            assert open_one.getresponse().read() == BODY
            proxy.close("alpha-1")
            assert open_one.sock.recv(1) == b""
        with pytest.raises(OSError, match=r"refused|reset"):
            ask(url, "GET", "/b/k")


@pytest.mark.parametrize("kind", WEIGHTS)
def test_each_kind_of_fault(aws: Aws, kind: str) -> None:
    proxy, _ = proxied(aws, **{kind: 1})
    with proxy:
        url, seconds = proxy.open("alpha-1"), 1.0 if kind == "timeout" else 10.0
        at_s3 = outcome_of(lambda: ask(url, "GET", "/b/photos/a.jpg", timeout=seconds))
        at_sqs = outcome_of(lambda: ask(url, "POST", "/", b"{}", SQS, timeout=seconds))
        assert proxy.counts()[0] == sum(proxy.counts()[1].values()) == 2
        proxy.calm()
        proxy.counts()
        assert ask(url, "GET", "/b/photos/b.jpg") == (200, BODY)
    assert (at_s3, at_sqs, len(aws.requests) - 1) == {
        "500": ((500, "InternalError"), (500, "InternalFailure"), 0),
        "503": ((503, "ServiceUnavailable"), (503, "ServiceUnavailable"), 0),
        "throttled": ((503, "SlowDown"), (400, "RequestThrottled"), 0),
        "denied": ((403, "AccessDenied"), (500, "InternalFailure"), 0),
        "reset before": ("ConnectionResetError", "ConnectionResetError", 0),
        "reset after": ("ConnectionResetError", "ConnectionResetError", 2),
        "silence": ("ConnectionResetError", "ConnectionResetError", 0),
        "timeout": ("TimeoutError", "TimeoutError", 0),
        "truncated": ("IncompleteRead", "IncompleteRead", 2),
    }[kind]


def test_a_photo_that_is_denied_stays_so_for_a_while(aws: Aws) -> None:
    proxy, _ = proxied(aws, denied=1)
    with proxy:
        url = proxy.open("alpha-1")
        for _ in range(3):
            assert outcome_of(lambda: ask(url, "GET", "/b/photos/a.jpg")) == (403, "AccessDenied")
        proxy.calm()
        proxy.counts()
        assert ask(url, "GET", "/b/photos/a.jpg") == (200, BODY)


def test_expired_credentials_are_one_services(aws: Aws) -> None:
    proxy, _ = proxied(aws)
    with proxy:
        first, second = proxy.open("alpha-1"), proxy.open("beta-1")
        proxy.expire("alpha-1")
        proxy.counts()
        for _ in range(2):
            assert outcome_of(lambda: ask(first, "GET", "/b/k")) == (400, "ExpiredToken")
        assert outcome_of(lambda: ask(first, "POST", "/", b"{}", SQS)) == (403, "ExpiredToken")
        assert ask(second, "GET", "/b/k") == (200, BODY)
    assert len(aws.requests) == 1


@pytest.mark.parametrize(("moment", "effects"), [("before", 0), ("after", 1)])
def test_a_kill_at_a_boundary(aws: Aws, moment: str, effects: int) -> None:
    """The request is held before or after its effect; once it is done, the client is gone."""
    proxy, hits = proxied(aws)
    with proxy:
        url = proxy.open("alpha-1")
        proxy.arm(7, "computing", moment)
        proxy.counts()
        script = f"import urllib.request as u; u.urlopen({url + '/b/photos/a.jpg'!r}, timeout=60)"
        client = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
        assert hits.come.get(timeout=30) == ("alpha-1", 7)
        assert (client.poll(), len(aws.requests)) == (None, effects)
        client.kill()
        assert client.wait() == -signal.SIGKILL
        hits.done.set()
        assert ask(url, "GET", "/b/photos/a.jpg") == (200, BODY)  # it was armed for once
    assert len(aws.requests) == effects + 1


def test_messages_on_their_way_are_a_boundary_an_empty_response_is_not(aws: Aws) -> None:
    proxy, hits = proxied(aws)
    hits.done.set()
    with proxy:
        url = proxy.open("alpha-1")
        proxy.arm(3, "received", "after")
        proxy.counts()
        assert ask(url, "POST", "/", b"{}", SQS) == (200, b"{}")
        assert hits.come.empty()
        aws.messages = MESSAGES
        assert ask(url, "POST", "/", b"{}", SQS) == (200, MESSAGES)
        assert hits.come.get(timeout=30) == ("alpha-1", 3)


def outcome_of(call) -> object:
    try:
        status, body = call()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    names = ("RequestThrottled", "ThrottlingException", "InternalFailure", "InternalError")
    names += ("ServiceUnavailable", "SlowDown", "AccessDenied", "ExpiredToken")
    return status, next(name for name in names if name.encode() in body)
