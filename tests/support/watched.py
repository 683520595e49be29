"""What the stack's tests share: a silent print, and clients that are watched or made to fail."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from infra_scripts.clients import Clients
from infra_scripts.parts import Action, Change

WRITES = ("Create", "Put", "Set", "Delete")


def quiet(line: str) -> None:
    """A replacement for print that prints nothing."""


def actions(changes: list[Change]) -> set[Action]:
    """The different actions among the changes."""
    return {change.action for change in changes}


@contextmanager
def recorded(clients: Clients) -> Iterator[list[str]]:
    """The operations called in the block that change something, in order."""
    called: list[str] = []

    def note(
        model: Any, **_: object
    ) -> None:  # an operation's model, which botocore leaves untyped
        if model.name.startswith(WRITES):
            called.append(model.name)

    with _before_each_call(clients, note):
        yield called


def create_bucket(clients: Clients, name: str, region: str) -> None:
    """Create a bucket as somebody else would, without our settings."""
    clients.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})


@contextmanager
def instead(
    clients: Clients, operation: str, outcome: Exception | tuple[int, str]
) -> Iterator[None]:
    """Make ``operation`` raise ``outcome``, or fail with that status and error code."""

    def answer(model: Any, **_: object) -> tuple[SimpleNamespace, dict[str, object]] | None:
        if model.name != operation:
            return None
        if isinstance(outcome, Exception):
            raise outcome
        status, code = outcome
        parsed = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {}}
        return SimpleNamespace(status_code=status), parsed

    with _before_each_call(clients, answer):
        yield


@contextmanager
def _before_each_call(clients: Clients, handler: Callable[..., object]) -> Iterator[None]:
    watched = (clients.s3, clients.sqs, clients.logs, clients.cloudformation)
    for client in watched:
        client.meta.events.register("before-call", handler)
    try:
        yield
    finally:
        for client in watched:
            client.meta.events.unregister("before-call", handler)
