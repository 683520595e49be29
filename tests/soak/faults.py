"""Faults: what the proxy does to a request instead of passing it on, chosen by a seeded generator."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from tests.soak.boundaries import Request

# By kind, how often compared with the others.
WEIGHTS = {
    "500": 8,
    "503": 8,
    "throttled": 8,
    "reset before": 8,  # the connection is reset; the request had no effect,
    "reset after": 8,  # or had it, and nobody hears of it
    "silence": 4,  # a few seconds without a response, then the connection closes
    "truncated": 8,  # half a body, as far as there is one
    "denied": 1,  # of a photo, for a while; of another request: as 500
    "timeout": 0.3,  # silence for longer than any client waits
}
TAKES_EFFECT = {"reset after", "truncated"}
SILENCE_SECONDS = (0.5, 3.0)
TIMEOUT_SECONDS = 40.0  # the longest read timeout of the service is 30 s
DENIED_SECONDS = 5.0
MARK = "injected by the soak"  # in every error document, so that an end can be told from a bug


@dataclass(frozen=True, slots=True)
class Answer:
    """An error document."""

    status: int
    headers: dict[str, str]
    body: bytes


class Faults:
    """The faults of one proxy. Used by many threads; the order of their draws is not ours."""

    def __init__(self, seed: int, share: float, weights: Mapping[str, float]) -> None:
        self._random = random.Random(seed)
        self._weights = weights
        self.share = share

    def draw(self, request: Request) -> str | None:
        """The kind of fault that this request meets, if any."""
        if self._random.random() >= self.share:
            return None
        (kind,) = self._random.choices(list(self._weights), list(self._weights.values()))
        return "500" if kind == "denied" and not request.is_photo else kind

    def silence(self) -> float:
        """Seconds."""
        return self._random.uniform(*SILENCE_SECONDS)


def answer(kind: str, request: Request) -> Answer:
    """The error document of a kind of fault, as the service that the request is for would send it."""
    if request.is_sqs:
        status, code = {
            "500": (500, "InternalFailure"),
            "503": (503, "ServiceUnavailable"),
            "throttled": (400, _throttled(request)),
            "expired": (403, "ExpiredTokenException"),
        }[kind]
        body = f'{{"__type":"com.amazonaws.sqs#{code}","message":"{MARK}"}}'
        headers = {"Content-Type": "application/x-amz-json-1.0"}
        return Answer(status, headers, body.encode())
    status, code = {
        "500": (500, "InternalError"),
        "503": (503, "ServiceUnavailable"),
        "throttled": (503, "SlowDown"),
        "denied": (403, "AccessDenied"),
        "expired": (400, "ExpiredToken"),
    }[kind]
    body = f"<Error><Code>{code}</Code><Message>{MARK}</Message></Error>"
    return Answer(status, {"Content-Type": "application/xml"}, body.encode())


def _throttled(request: Request) -> str:
    """SQS has two names for it."""
    return "ThrottlingException" if len(request.body) % 2 else "RequestThrottled"
