"""What the tests of the stack share: a quiet print, and clients that are watched or made to fail."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from infra_scripts.clients import Clients
from infra_scripts.parts import Change

WRITES = ("Create", "Put", "Set", "Delete")


def quiet(line: str) -> None:
    """Stand in for print."""


def actions(changes: list[Change]) -> set[str]:
    return {change.action for change in changes}


@contextmanager
def recorded(clients: Clients) -> Iterator[list[str]]:
    """The operations that change something, as they are called."""
    called: list[str] = []

    def note(model: Any, **_: Any) -> None:
        if model.name.startswith(WRITES):
            called.append(model.name)

    everyone = (clients.s3, clients.sqs, clients.logs)
    for client in everyone:
        client.meta.events.register("before-call", note)
    try:
        yield called
    finally:
        for client in everyone:
            client.meta.events.unregister("before-call", note)


def create_bucket(clients: Clients, name: str, region: str) -> None:
    clients.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})


@contextmanager
def instead(clients: Clients, operation: str, outcome: Any) -> Iterator[None]:
    """Let ``operation`` raise ``outcome``, or fail with that status and error code."""

    def answer(model: Any, **_: Any) -> Any:
        if model.name != operation:
            return None
        if isinstance(outcome, Exception):
            raise outcome
        status, code = outcome
        parsed = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {}}
        return SimpleNamespace(status_code=status), parsed

    everyone = (clients.s3, clients.sqs, clients.logs)
    for client in everyone:
        client.meta.events.register("before-call", answer)
    try:
        yield
    finally:
        for client in everyone:
            client.meta.events.unregister("before-call", answer)
